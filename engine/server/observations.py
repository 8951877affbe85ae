"""What serving itself tells of a cell, remembered: that it runs, its cosine when loaded, its most texts/s over 5 s."""

import asyncio
from collections import deque
from collections.abc import Callable

from engine.capabilities.measurements import MeasurementStore
from engine.capabilities.probes import Probe, ProbeCache, ProbeResult, environment_hash
from engine.deployment.live import LiveDeployment
from engine.deployment.switch import Deployments

WINDOW_S = 5
"""Long enough that one burst does not count, short enough that a visit of some seconds does."""


class PeakThroughput:
    """One deployment's best window. Fed once a second with the engine's cumulative count of texts."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque(maxlen=WINDOW_S + 1)
        self.texts_per_s = 0.0

    @property
    def figures(self) -> dict[str, float]:
        """What is worth remembering: nothing of a visit without load."""
        return {"texts_per_s": round(self.texts_per_s, 1)} if self.texts_per_s else {}

    def add(self, now_s: float, texts: int) -> None:
        """A sample. A window counts once it is full."""
        self._counts.append((now_s, texts))
        first_s, first = self._counts[0]
        if len(self._counts) > WINDOW_S:
            self.texts_per_s = max(self.texts_per_s, (texts - first) / (now_s - first_s))


def record_load_cosine(deployments: Deployments, live: LiveDeployment) -> None:
    """What every loading shows anyway: a probe of this cell could find no more."""
    _write(deployments, live, loaded_cosine=live.cosine)
    ProbeCache(deployments.facts).add(live.cell, Probe(ProbeResult.PASSED, live.evidence.partition(";")[0]))


async def record_peaks(
    deployments: Deployments, texts: Callable[[], int], clock: Callable[[], float], interval_s: float = 1.0
) -> None:
    """Runs until cancelled; writes a deployment's peak when another one takes its place, and at the end.

    The first deployment's loading was remembered before anybody could ask.

    A visit without load leaves what was measured before.
    """
    live, peak = deployments.live, PeakThroughput()
    try:
        while True:
            await asyncio.sleep(interval_s)
            if deployments.live is not live:
                await asyncio.to_thread(_write, deployments, live, **peak.figures)
                live, peak = deployments.live, PeakThroughput()
                await asyncio.to_thread(record_load_cosine, deployments, live)
            peak.add(clock(), texts())
    finally:
        _write(deployments, live, **peak.figures)


def _write(deployments: Deployments, live: LiveDeployment, **figures: float) -> None:
    if figures:
        MeasurementStore.of(live.fingerprint, environment_hash(deployments.facts)).write(live.cell, **figures)
