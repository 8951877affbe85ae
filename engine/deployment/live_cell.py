"""The cell that is live, and where its last measurements are kept."""

from engine.capabilities.measurements import MeasuredStore
from engine.capabilities.probes import environment_hash
from engine.capabilities.resolve import Choice
from engine.deployment.live import Live
from engine.host.machine import PlatformFacts


def measured_store(live: Live, facts: PlatformFacts) -> MeasuredStore:
    """Where the last figures of the live model's cells are kept."""
    return MeasuredStore.of(live.files.fingerprint, environment_hash(facts))


def cell_of(live: Live) -> Choice:
    """The cell that is live, as the matrix names it."""
    effective = live.plan.effective
    return Choice(effective.backend, effective.precision, effective.device, effective.recipe)
