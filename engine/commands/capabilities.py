"""`engine capabilities`: rules, probes and last measurements of this machine, or the rules for another one."""

from engine.backends.base import Cell
from engine.capabilities.matrix import findings
from engine.capabilities.measurements import MeasuredStore
from engine.capabilities.platform import named_platform, this_platform
from engine.capabilities.probes import environment_hash, probe_this_machine, stored_probes
from engine.commands.capabilities_table import as_json_text, as_table
from engine.errors import EngineError
from engine.host.reporting import Reporter
from engine.models.resolve import resolve_model


def capabilities_report(platform: str | None, model: str, *, probe: bool, as_json: bool) -> str:
    """The matrix as text or JSON. Missing probes are run first unless `probe` is off; progress goes to stderr."""
    show = as_json_text if as_json else as_table
    if platform is not None:
        facts = named_platform(platform)
        return show(facts, list(findings(facts)))
    reporter = Reporter()
    facts = this_platform()

    def progress(cell: Cell, done: int, total: int) -> None:
        reporter.phase("probe", f"{cell} {cell.recipe}", done, total)

    probes = probe_this_machine(facts, progress) if probe else stored_probes(facts)
    measured = {}
    try:
        measured = MeasuredStore.of(resolve_model(model or None).fingerprint, environment_hash(facts)).read()
    except EngineError as error:  # the rules do not need a model: only its last figures are missing
        reporter.log("warning", f"no measurements are shown: {error}")
    return show(facts, list(findings(facts, probes, measured)))
