"""Each figure of a cell says the load, the date and the method behind it."""

import json
from pathlib import Path

import pytest

from engine.api import embed_pb2
from engine.backends.base import Cell
from engine.capabilities.matrix import CapabilityCell, capability_matrix
from engine.capabilities.measurements import Measurement, MeasurementStore, Peak
from engine.commands.capabilities_table import as_json_text, as_table
from engine.doors.embed_v1.wire import cell_message
from engine.host.machine import PlatformFacts
from engine.server.observations import LoadSample, PeakThroughput

ONNX = Cell(backend="onnx", precision="fp32", device="cpu", recipe="plain")
FACTS = PlatformFacts("linux-x86_64", "linux", "x86_64", packages={"onnxruntime": "1"})
AT = 1_764_150_000.0
PEAK = Peak(1541.0, 5.0, AT, 32.0, 4.0)
FIDELITY = {"n": 576, "cosine": {"mean": 0.9966}}


def cell_with(measurement: Measurement) -> CapabilityCell:
    return next(one for one in capability_matrix(FACTS, None, {ONNX: measurement}) if one.report.asked == ONNX)


def test_a_peak_is_the_best_full_window_with_the_load_at_that_time() -> None:
    throughput = PeakThroughput(wall_clock=lambda: AT)
    for second in range(5):
        throughput.add(float(second), LoadSample(100 * second, 10 * second, 4))
    assert not throughput.measurements, "five seconds are not over yet"
    throughput.add(5.0, LoadSample(500, 50, 4))
    throughput.add(6.0, LoadSample(500, 50, 0))
    assert throughput.peak == Peak(100.0, 5.0, AT, 10.0, 4.0)
    assert throughput.measurements["texts_per_s"] == 100.0


def test_a_deployment_without_load_has_no_peak() -> None:
    throughput = PeakThroughput()
    for second in range(8):
        throughput.add(float(second), LoadSample(700, 70, 0))
    assert throughput.measurements == {}


def test_a_peak_and_the_texts_behind_a_cosine_are_kept_with_their_dates(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "measured.json")
    store.write(ONNX, loaded_cosine=0.9953, loaded_texts=24)
    loaded = store.read()[ONNX]
    assert (loaded.mean_cosine, loaded.cosine_texts) == (0.9953, 24)
    store.write(ONNX, texts_per_s=1541.0, peak={name: getattr(PEAK, name) for name in Peak.__slots__})
    store.write(ONNX, fidelity=FIDELITY)
    found = store.read()[ONNX]
    assert found.peak == PEAK
    assert (found.mean_cosine, found.cosine_texts) == (0.9966, 576)
    assert found.fidelity_at_unix_s > AT


@pytest.mark.parametrize(
    ("measurement", "text"),
    [
        (Measurement(loaded_cosine=0.9953, loaded_texts=24), "cosine 0.99530 of 24 texts when loaded"),
        (Measurement(loaded_cosine=0.9953), "cosine 0.99530 of a few texts when loaded"),
        (Measurement(loaded_cosine=0.9953, fidelity=FIDELITY), "fidelity 0.99660, measured on 576 texts"),
        (Measurement(), ""),
    ],
)
def test_the_cosine_when_loaded_and_the_measured_fidelity_are_named_apart(measurement: Measurement, text: str) -> None:
    assert measurement.cosine_text == text


def test_the_wire_says_how_each_figure_was_measured() -> None:
    message = cell_message(cell_with(Measurement(1541.0, FIDELITY, peak=PEAK, fidelity_at_unix_s=AT)))
    assert (message.fidelity_texts, message.fidelity_method) == (576, embed_pb2.MEASURED)
    assert message.fidelity_at_unix_s == AT
    assert (message.peak.texts_per_s, message.peak.texts_per_request, message.peak.in_flight_requests) == (1541, 32, 4)
    loaded = cell_message(cell_with(Measurement(900.0, loaded_cosine=0.9953, loaded_texts=24)))
    assert (loaded.fidelity_texts, loaded.fidelity_method) == (24, embed_pb2.WHEN_LOADED)
    assert not loaded.HasField("peak"), "the load of an older entry is not known"


def test_the_table_shows_a_speed_with_its_load_and_date_or_not_at_all() -> None:
    table = as_table(FACTS, [cell_with(Measurement(1541.0, peak=PEAK))])
    assert "best 5 s: 1,541 texts/s with 32 texts a request and 4 in flight, 2025-11-2" in table
    assert "only under the same load" in table
    assert "900" not in as_table(FACTS, [cell_with(Measurement(900.0, loaded_cosine=1.0))])
    row = json.loads(as_json_text(FACTS, [cell_with(Measurement(1541.0, FIDELITY, peak=PEAK))]))["cells"][0]
    assert row["measured"]["fidelity_method"] == "measured"
    assert row["measured"]["peak"]["in_flight_requests"] == 4
