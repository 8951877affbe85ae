"""Measurements of a cell while it serves, stored: that it runs, its cosine when loaded, its peak texts/s over 5 s."""

import asyncio
from collections import deque
from collections.abc import Callable

from engine.capabilities.measurements import MeasurementStore
from engine.capabilities.probes import Probe, ProbeCache, ProbeResult, environment_hash
from engine.deployment.live import LiveDeployment
from engine.deployment.switch import Deployments

WINDOW_S = 5
"""The window of a peak, in samples of one second. Chosen: longer than a burst, shorter than a brief deployment."""


class PeakThroughput:
    """The peak throughput of one deployment, from samples of the engine's cumulative count of texts, one per second."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque(maxlen=WINDOW_S + 1)
        self.texts_per_s = 0.0

    @property
    def measurements(self) -> dict[str, float]:
        """The measurements to store; none for a deployment without load."""
        return {"texts_per_s": round(self.texts_per_s, 1)} if self.texts_per_s else {}

    def add(self, now_s: float, texts: int) -> None:
        """Adds a sample: the time in seconds, and the cumulative number of texts. Counts full windows only."""
        self._counts.append((now_s, texts))
        first_s, first = self._counts[0]
        if len(self._counts) > WINDOW_S:
            self.texts_per_s = max(self.texts_per_s, (texts - first) / (now_s - first_s))


def record_load_cosine(deployments: Deployments, live: LiveDeployment) -> None:
    """Stores the cosine of a load, and that the cell works: a probe of the cell would find the same."""
    _write(deployments, live, loaded_cosine=live.cosine)
    ProbeCache(deployments.facts).add(live.cell, Probe(ProbeResult.PASSED, live.evidence.partition(";")[0]))


async def record_peak_throughput(
    deployments: Deployments, texts: Callable[[], int], clock: Callable[[], float], interval_s: float = 1.0
) -> None:
    """Runs until cancelled. Stores the peak of a deployment when another one replaces it, and at the end.

    Also stores the load cosine of each deployment but the first, which the caller stores. A deployment without load
    keeps its stored peak.
    """
    live, peak = deployments.live, PeakThroughput()
    try:
        while True:
            await asyncio.sleep(interval_s)
            if deployments.live is not live:
                await asyncio.to_thread(_write, deployments, live, **peak.measurements)
                live, peak = deployments.live, PeakThroughput()
                await asyncio.to_thread(record_load_cosine, deployments, live)
            peak.add(clock(), texts())
    finally:
        _write(deployments, live, **peak.measurements)


def _write(deployments: Deployments, live: LiveDeployment, **measurements: float) -> None:
    if measurements:
        MeasurementStore.of(live.fingerprint, environment_hash(deployments.facts)).write(live.cell, **measurements)
