"""The most that each deployment answered over five seconds, remembered as the cell's last measured texts/s."""

import asyncio
from collections import deque
from collections.abc import Callable

from engine.deployment import Deployments, Live
from engine.judging import cell_of, measured_store

WINDOW_S = 5
"""Long enough that one burst does not count, short enough that a visit of some seconds does."""


class Peak:
    """One deployment's best window. Fed once a second with the engine's cumulative count of texts."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque(maxlen=WINDOW_S + 1)
        self.texts_per_s = 0.0

    def add(self, now_s: float, texts: int) -> None:
        """A sample. A window counts once it is full."""
        self._counts.append((now_s, texts))
        first_s, first = self._counts[0]
        if len(self._counts) > WINDOW_S:
            self.texts_per_s = max(self.texts_per_s, (texts - first) / (now_s - first_s))


async def remember_peaks(
    deployments: Deployments, texts: Callable[[], int], clock: Callable[[], float], interval_s: float = 1.0
) -> None:
    """Runs until cancelled; writes a deployment's peak when another one takes its place, and at the end.

    A visit without load leaves what was measured before.
    """
    live, peak = deployments.live, Peak()
    try:
        while True:
            await asyncio.sleep(interval_s)
            if deployments.live is not live:
                await asyncio.to_thread(_write, deployments, live, peak)
                live, peak = deployments.live, Peak()
            peak.add(clock(), texts())
    finally:
        _write(deployments, live, peak)


def _write(deployments: Deployments, live: Live, peak: Peak) -> None:
    if peak.texts_per_s > 0:
        store = measured_store(live, deployments.facts)
        store.write(cell_of(live), texts_per_s=round(peak.texts_per_s, 1))
