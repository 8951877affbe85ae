"""`engine capabilities`: rules, probes and last measurements of this machine, or the rules for another platform."""

from engine.backends.base import Cell
from engine.capabilities.matrix import capability_matrix
from engine.capabilities.measurements import MeasurementStore
from engine.capabilities.platform import named_platform, this_platform
from engine.capabilities.probes import environment_hash, probe_this_machine, stored_probes
from engine.commands.capabilities_table import as_json_text, as_table
from engine.errors import EngineError
from engine.host.reporting import Reporter
from engine.models.resolve import resolve_model


def capabilities_report(platform: str | None, model: str, *, probe: bool, as_json: bool) -> str:
    """Returns the matrix as text or JSON. Runs missing probes first if `probe` is set; reports progress on stderr."""
    show = as_json_text if as_json else as_table
    if platform is not None:
        facts = named_platform(platform)
        return show(facts, list(capability_matrix(facts)))
    reporter = Reporter()
    facts = this_platform()

    def report(cell: Cell, done: int, total: int) -> None:
        reporter.phase("probe", f"{cell} {cell.recipe}", done, total)

    probes = probe_this_machine(facts, report) if probe else stored_probes(facts)
    measurements = {}
    try:
        fingerprint = resolve_model(model or None).fingerprint
        measurements = MeasurementStore.of(fingerprint, environment_hash(facts)).read()
    except EngineError as error:  # the matrix needs no model, only the measurements do
        reporter.log("warning", f"no measurements are shown: {error}")
    return show(facts, list(capability_matrix(facts, probes, measurements)))
