"""Measurements of a cell while it serves, stored: that it runs, its cosine when loaded, its peak texts/s over 5 s."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from statistics import fmean
from typing import Any, NamedTuple

from engine.capabilities.measurements import MeasurementStore, Peak
from engine.capabilities.probes import Probe, ProbeCache, ProbeResult, environment_hash
from engine.deployment.live import LiveDeployment
from engine.deployment.switch import Deployments

WINDOW_S = 5
"""The window of a peak, in samples of one second. Chosen: longer than a burst, shorter than a brief deployment."""


class LoadSample(NamedTuple):
    """The engine's cumulative counts and its present load."""

    texts: int
    requests: int
    in_flight_requests: int


class PeakThroughput:
    """The peak throughput of one deployment and the load at that time, from samples of the engine, one per second."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._samples: deque[tuple[float, LoadSample]] = deque(maxlen=WINDOW_S + 1)
        self._wall_clock = wall_clock
        self.peak: Peak | None = None
        """None for a deployment without load."""

    @property
    def measurements(self) -> dict[str, Any]:
        """The measurements to store; none for a deployment without load."""
        return {"texts_per_s": self.peak.texts_per_s, "peak": asdict(self.peak)} if self.peak else {}

    def add(self, now_s: float, sample: LoadSample) -> None:
        """Adds a sample, taken at `now_s` seconds. Counts full windows only."""
        self._samples.append((now_s, sample))
        first_s, first = self._samples[0]
        texts, requests = sample.texts - first.texts, sample.requests - first.requests
        if len(self._samples) <= WINDOW_S or not texts or not requests:
            return
        texts_per_s = round(texts / (now_s - first_s), 1)
        if self.peak is None or texts_per_s > self.peak.texts_per_s:
            self.peak = Peak(
                texts_per_s=texts_per_s,
                window_s=float(WINDOW_S),
                at_unix_s=round(self._wall_clock()),
                texts_per_request=round(texts / requests, 1),
                in_flight_requests=round(fmean(one.in_flight_requests for _, one in self._samples), 1),
            )


def record_load_cosine(deployments: Deployments, live: LiveDeployment) -> None:
    """Stores the cosine of a load, and that the cell works: a probe of the cell would find the same."""
    _write(deployments, live, loaded_cosine=live.cosine, loaded_texts=live.verified_texts)
    ProbeCache(deployments.facts).add(live.cell, Probe(ProbeResult.PASSED, live.evidence.partition(";")[0]))


async def record_peak_throughput(
    deployments: Deployments, sample: Callable[[], LoadSample], clock: Callable[[], float], interval_s: float = 1.0
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
            peak.add(clock(), sample())
    finally:
        _write(deployments, live, **peak.measurements)


def _write(deployments: Deployments, live: LiveDeployment, **measurements: Any) -> None:
    if measurements:
        MeasurementStore.of(live.fingerprint, environment_hash(deployments.facts)).write(live.cell, **measurements)
