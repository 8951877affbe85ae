"""The specification of a run: its load, how long to measure, and the SLO."""

from dataclasses import dataclass, fields

from console.model.load import LoadSpec
from console.store.read import StoredRun


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What to measure."""

    load: LoadSpec
    duration_s: float = 10.0
    warm_up_s: float = 3.0
    slo_p95_ms: float | None = None
    at_most_s: float | None = None
    """If given, measuring goes on past `duration_s` until the figures are certified, for at most this long."""

    @property
    def longest_s(self) -> float:
        """The longest time to measure, without the warm-up."""
        return self.at_most_s or self.duration_s


def spec_of(run: StoredRun) -> RunSpec:
    """Returns the specification of a stored run. Keys that this version does not know are ignored."""
    known, of_load = ({field.name for field in fields(kind)} for kind in (RunSpec, LoadSpec))
    load = {name: value for name, value in run.spec["load"].items() if name in of_load}
    spec = {name: value for name, value in run.spec.items() if name in known}
    return RunSpec(**{**spec, "load": LoadSpec(**load)})
