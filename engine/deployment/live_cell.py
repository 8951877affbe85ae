"""The cell that is live, and where its last measurements are kept."""

from engine.backends.base import Cell
from engine.capabilities.measurements import MeasuredStore
from engine.capabilities.probes import environment_hash
from engine.deployment.live import Live
from engine.host.machine import PlatformFacts


def measured_store(live: Live, facts: PlatformFacts) -> MeasuredStore:
    """Where the last figures of the live model's cells are kept."""
    return MeasuredStore.of(live.files.fingerprint, environment_hash(facts))


def cell_of(live: Live) -> Cell:
    """The cell that is live, as the matrix names it."""
    effective = live.plan.effective
    return Cell(
        backend=effective.backend, precision=effective.precision, device=effective.device, recipe=effective.recipe
    )
