"""From the wire's messages to the frame's values.

The engine may be newer than the console: an enum value that is not known here is shown as unknown and is no error.
"""

from collections.abc import Mapping
from typing import Any

from console.model.engine import (
    Batching,
    CapabilityCell,
    CellState,
    Deployment,
    Machine,
    ModelCard,
    Notice,
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
_AFTER_CUT_OVER = (embed_pb2.CUT_OVER, embed_pb2.DRAINING, embed_pb2.RELEASED)
UNKNOWN_STATE = "unknown_state"
"""The code of the notice on a serving state."""


def enum_name(names: Mapping[int, Any], number: int) -> str:
    """In lower case; `unknown (9)` for a number without a name. `names`: an enum's values by their number."""
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
    """An engine of an older wire says nothing but its host's name."""
    told = status.machine
    return Machine(
        host_name=status.host_name,
        platform=told.platform,
        system=told.system,
        isa=tuple(told.isa),
        memory_bytes=told.memory_bytes,
        governor=told.governor,
        gpu_model=told.gpu_model,
        gpu_driver=told.gpu_driver,
        python=told.python,
        packages=tuple(sorted(told.packages.items())),
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
    )


def switch_phase(event: embed_pb2.SwitchEvent) -> Phase:
    """Where a switch stands: `done` of `total` states, and the engine's own words."""
    name = enum_name(embed_pb2.SwitchState.DESCRIPTOR.values_by_number, event.state)
    done = SWITCH_STEPS.index(name) if name in SWITCH_STEPS else 0
    message = event.message
    if 0 < event.progress < 1:
        message = f"{message} {event.progress:.0%}".strip()
    return Phase(name, message, done, len(SWITCH_STEPS) - 1, event.elapsed_s)


def is_cut_over(state: int) -> bool:
    """Whether the new deployment serves. A state that is not known here says nothing of that."""
    return state in _AFTER_CUT_OVER


def with_state_warning(warnings: tuple[Notice, ...], state: int) -> tuple[Notice, ...]:
    """With a warning on the serving state where it is not known here; the engine answers, so it counts as running."""
    others = tuple(notice for notice in warnings if notice.code != UNKNOWN_STATE)
    if state in embed_pb2.ServingState.DESCRIPTOR.values_by_number:
        return others
    message = f"the engine is in a state that this console does not know ({state})"
    return (*others, Notice(UNKNOWN_STATE, message, "update the console"))


def fidelity(event: embed_pb2.FidelityEvent) -> dict[str, Any]:
    """The last event of MeasureFidelity, by the names of `engine fidelity --json`.

    A grade that is not known here is None: the figures beside it say what there is to say.
    """
    grades = embed_pb2.FidelityGrade.DESCRIPTOR.values_by_number

    def cosines(found: embed_pb2.CosineSummary) -> dict[str, float]:
        return {"mean": found.mean, "p1": found.p1, "min": found.min}

    return {
        "n": event.n,
        "cosine": cosines(event.cosine),
        "overlap_at_1": event.overlap_at_1,
        "overlap_at_10": event.overlap_at_10,
        "spearman": event.spearman,
        "batched": {"cosine": cosines(event.batched)},
        "grade": enum_name(grades, event.grade) if event.grade in grades and event.grade else None,
    }
