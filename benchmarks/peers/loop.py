"""The closed loop that measures every contender. Standard library only, as it runs in every environment."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from benchmarks.peers.line import Measurement, Order

LONGEST_S = 30.0
"""Maximum extension of a window when responses are slow, as a multiple of it."""
P95_FLOOR = 130
PAUSE_AFTER_ERROR_S = 0.1

Call = Callable[[int], Awaitable[None]]
"""Sends one request and returns when its response is complete. Raises when it fails."""


class Window:
    """Counts responses and determines when the window is over. Not thread-safe."""

    def __init__(self, order: Order, callers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._order = order
        self._wanted = order.answers_a_caller * callers + 1
        self._begin_s = clock() + order.warm_s
        self._cpu_s = time.process_time()
        self._latencies_s: list[float] = []
        self._first_s = self._last_s = 0.0
        self._first_texts = self._texts = self._all_texts = 0
        self._errors: Counter[str] = Counter()

    @property
    def over(self) -> bool:
        """Whether no further request should be sent."""
        passed_s = self._clock() - self._begin_s - self._order.window_s
        return passed_s >= 0 and (len(self._latencies_s) >= self._wanted or passed_s >= LONGEST_S)

    def answered(self, texts: int, started_s: float) -> None:
        """Records a response at the current time."""
        now_s = self._clock()
        self._all_texts += texts
        if now_s < self._begin_s:
            return
        if not self._latencies_s:
            self._first_s, self._first_texts = now_s, texts
        self._latencies_s.append(now_s - started_s)
        self._texts += texts
        self._last_s = now_s

    def failed(self, error: BaseException) -> None:
        """Records a failed request, which does not count as throughput."""
        self._errors[f"{type(error).__name__}: {error}"[:120]] += 1

    def measured(self, *, tells_latency: bool = True) -> Measurement:
        """Returns (completed - 1) / (last - first completion), in texts/s, and the percentiles in the window."""
        took_s = self._last_s - self._first_s
        latencies_ms = sorted(1e3 * one for one in self._latencies_s)
        n = len(latencies_ms)
        return Measurement(
            texts_per_s=(self._texts - self._first_texts) / took_s if took_s > 0 else None,
            all_texts=self._all_texts,
            requests=n,
            p50_ms=latencies_ms[n // 2] if n and tells_latency else None,
            p95_ms=latencies_ms[int(0.95 * n)] if n >= P95_FLOOR and tells_latency else None,
            client_cpu_s=time.process_time() - self._cpu_s,
            errors=dict(self._errors),
        )


async def many_callers(calls: list[Call], order: Order) -> Measurement:
    """Runs one caller per call, each with one request in flight, until the last one is answered."""
    window = Window(order, len(calls))

    async def run_caller(call: Call) -> None:
        while not window.over:
            started_s = time.monotonic()
            try:
                await call(order.batch)
            except Exception as error:  # counted, and shown in the table
                window.failed(error)
                await asyncio.sleep(PAUSE_AFTER_ERROR_S)
            else:
                window.answered(order.batch, started_s)

    await asyncio.gather(*(run_caller(call) for call in calls))
    return window.measured()


def one_caller(step: Callable[[], int], order: Order) -> Measurement:
    """Repeats `step`, which returns its number of texts, in this thread. For contenders without a server."""
    window = Window(order, 1)
    while not window.over:
        started_s = time.monotonic()
        window.answered(step(), started_s)
    return window.measured(tells_latency=order.concurrency == 1)
