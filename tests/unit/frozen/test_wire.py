"""The wire and the driver's pipe since commit 31acd2e: nothing is removed, renamed or renumbered."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from console.load.protocol import decode_command, decode_event, encode_command, encode_event
from engine.api import embed_pb2
from tests.unit.frozen.recorded import RECORDED, differences, recorded


def fields(message: Any) -> dict[str, list[Any]]:
    return {
        field.name: [
            field.number, field.type, field.is_repeated,
            (field.message_type or field.enum_type).full_name if field.message_type or field.enum_type else "",
            field.containing_oneof.name if field.containing_oneof else "",
        ]
        for field in message.fields
    }  # fmt: skip


def wire() -> dict[str, Any]:
    described: Any = embed_pb2.DESCRIPTOR
    return {
        "package": described.package,
        "messages": {name: fields(message) for name, message in described.message_types_by_name.items()},
        "enums": {
            name: {value.name: value.number for value in enum.values}
            for name, enum in described.enum_types_by_name.items()
        },
        "services": {
            name: {
                method.name: [
                    method.input_type.full_name, method.client_streaming, method.output_type.full_name,
                    method.server_streaming,
                ]
                for method in service.methods
            }
            for name, service in described.services_by_name.items()
        },
    }  # fmt: skip


def test_messages_fields_numbers_and_methods_are_what_they_were() -> None:
    assert not differences(recorded("wire.json"), wire())


@pytest.mark.parametrize("line", (RECORDED / "driver-events.jsonl").read_bytes().splitlines(), ids=lambda x: x[:22])
def test_the_driver_s_events_are_read_and_written_under_the_same_names(line: bytes) -> None:
    assert not differences(json.loads(line), json.loads(encode_event(decode_event(line))))


@pytest.mark.parametrize("line", (RECORDED / "driver-commands.jsonl").read_bytes().splitlines(), ids=lambda x: x[:22])
def test_the_driver_s_commands_are_read_and_written_under_the_same_names(line: bytes) -> None:
    assert not differences(json.loads(line), json.loads(encode_command(decode_command(line))))


def test_an_interval_s_values_are_where_they_were() -> None:
    (line,) = (one for one in (RECORDED / "driver-events.jsonl").read_bytes().splitlines() if b'"interval"' in one)
    before, now = json.loads(line), asdict(decode_event(line))
    del before["event"]
    assert not differences(before, now)
