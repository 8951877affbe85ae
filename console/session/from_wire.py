"""Conversion of wire messages to the values of a frame.

The engine may be newer than the console: an unknown enum value is shown as unknown and is not an error.
"""

from collections.abc import Mapping
from typing import Any

from console.model.engine import (
    MEASURED,
    WHEN_LOADED,
    Batching,
    CapabilityCell,
    CellState,
    Deployment,
    Machine,
    ModelCard,
    Notice,
    PeakThroughput,
    Phase,
    ServingPlan,
)
from engine.api import embed_pb2

SWITCH_STEPS = ("requested", "preparing", "loading", "verifying", "cut_over", "draining", "released")
_CELL_STATES = {
    embed_pb2.NATIVE: CellState.NATIVE,
    embed_pb2.SLOW: CellState.SLOW,
    embed_pb2.FALLS_BACK: CellState.FALLS_BACK,
    embed_pb2.UNAVAILABLE: CellState.UNAVAILABLE,
}
_FIDELITY_METHODS = {embed_pb2.MEASURED: MEASURED, embed_pb2.WHEN_LOADED: WHEN_LOADED}
_AFTER_CUT_OVER = (embed_pb2.CUT_OVER, embed_pb2.DRAINING, embed_pb2.RELEASED)
UNKNOWN_STATE = "unknown_state"
"""Code of the warning about an unknown serving state."""


def enum_name(names: Mapping[int, Any], number: int) -> str:
    """Returns the value's name in lower case, or `unknown (9)`. `names`: the enum's values by number."""
    return str(names[number].name).lower() if number in names else f"unknown ({number})"


def deployment(message: embed_pb2.Deployment) -> Deployment:
    return Deployment(
        backend=message.backend,
        precision=message.precision,
        recipe=message.recipe,
        device=message.device,
        model=message.model,
        instances=message.instances,
        threads=message.threads,
    )


def wire_deployment(value: Deployment) -> embed_pb2.Deployment:
    return embed_pb2.Deployment(
        backend=value.backend,
        precision=value.precision,
        recipe=value.recipe,
        device=value.device,
        model=value.model,
        instances=value.instances,
        threads=value.threads,
    )


def notices(messages: "embed_pb2.Status | embed_pb2.SwitchEvent") -> tuple[Notice, ...]:
    return tuple(Notice(warning.code, warning.message, warning.fix) for warning in messages.warnings)


def batching(message: embed_pb2.BatchingConfig) -> Batching:
    return Batching(message.max_batch_tokens, message.max_batch_items, message.max_wait_ms, message.coalesce)


def serving_plan(message: embed_pb2.ServingPlan) -> ServingPlan:
    return ServingPlan(
        instances=message.instances,
        threads=message.threads,
        max_batch_tokens=message.max_batch_tokens,
        max_batch_items=message.max_batch_items,
        pass_cost_tokens=message.pass_cost_tokens,
        texts_per_s=message.texts_per_s,
    )


def model_card(message: embed_pb2.ModelCard) -> ModelCard:
    return ModelCard(
        id=message.id,
        dim=message.dim,
        max_tokens=message.max_tokens,
        pooling=message.pooling,
        normalize=message.normalize,
        weights_sha256=message.weights_sha256,
        fingerprint=message.fingerprint,
    )


def machine(status: embed_pb2.Status) -> Machine:
    """Returns the engine's machine. An older engine reports the host name only."""
    message = status.machine
    return Machine(
        host_name=status.host_name,
        platform=message.platform,
        system=message.system,
        isa=tuple(message.isa),
        memory_bytes=message.memory_bytes,
        governor=message.governor,
        gpu_model=message.gpu_model,
        gpu_driver=message.gpu_driver,
        python=message.python,
        packages=tuple(sorted(message.packages.items())),
    )


def capability(message: embed_pb2.CapabilityCell) -> CapabilityCell:
    return CapabilityCell(
        backend=message.backend,
        precision=message.precision,
        device=message.device,
        state=_CELL_STATES.get(message.state, CellState.UNKNOWN),
        recipe=message.recipe,
        effective=deployment(message.effective),
        reason=message.reason,
        fix=message.fix,
        texts_per_s=message.texts_per_s if message.HasField("texts_per_s") else None,
        fidelity=message.fidelity if message.HasField("fidelity") else None,
        fidelity_method=_FIDELITY_METHODS.get(message.fidelity_method, ""),
        fidelity_texts=message.fidelity_texts,
        peak=peak_throughput(message.peak) if message.HasField("peak") else None,
    )


def peak_throughput(message: embed_pb2.PeakThroughput) -> PeakThroughput:
    return PeakThroughput(
        texts_per_s=message.texts_per_s,
        window_s=message.window_s,
        at_unix_s=message.at_unix_s,
        texts_per_request=message.texts_per_request,
        in_flight_requests=message.in_flight_requests,
    )


def switch_phase(event: embed_pb2.SwitchEvent) -> Phase:
    """Returns the phase of a switch: `done` of `total` states, and the engine's message."""
    name = enum_name(embed_pb2.SwitchState.DESCRIPTOR.values_by_number, event.state)
    done = SWITCH_STEPS.index(name) if name in SWITCH_STEPS else 0
    message = event.message
    if 0 < event.progress < 1:
        message = f"{message} {event.progress:.0%}".strip()
    return Phase(name, message, done, len(SWITCH_STEPS) - 1, event.elapsed_s)


def is_cut_over(state: int) -> bool:
    """Returns whether the new deployment is serving. False for an unknown state."""
    return state in _AFTER_CUT_OVER


def with_state_warning(warnings: tuple[Notice, ...], state: int) -> tuple[Notice, ...]:
    """Adds a warning if the serving state is unknown, else removes it. An unknown state counts as running."""
    others = tuple(notice for notice in warnings if notice.code != UNKNOWN_STATE)
    if state in embed_pb2.ServingState.DESCRIPTOR.values_by_number:
        return others
    message = f"the engine is in a state that this console does not know ({state})"
    return (*others, Notice(UNKNOWN_STATE, message, "update the console"))


def fidelity(event: embed_pb2.FidelityEvent) -> dict[str, Any]:
    """Converts the last event of MeasureFidelity to the fields of `engine fidelity --json`. None: unknown grade."""
    grades = embed_pb2.FidelityGrade.DESCRIPTOR.values_by_number

    def cosines(summary: embed_pb2.CosineSummary) -> dict[str, float]:
        return {"mean": summary.mean, "p1": summary.p1, "min": summary.min}

    return {
        "n": event.n,
        "cosine": cosines(event.cosine),
        "overlap_at_1": event.overlap_at_1,
        "overlap_at_10": event.overlap_at_10,
        "spearman": event.spearman,
        "batched": {"cosine": cosines(event.batched)},
        "grade": enum_name(grades, event.grade) if event.grade in grades and event.grade else None,
    }
