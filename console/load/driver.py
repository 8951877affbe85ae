"""The closed loop: `concurrency` callers, each with one request in flight, changeable while they run.

A request is retried only where the contract says that it may pass (UNAVAILABLE; RESOURCE_EXHAUSTED that carries
RetryInfo, after the time it names), each retry is counted, and the request's latency runs from its first attempt. One
that finally fails is an error by its code and never throughput.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from console.frame import LoadSpec
from console.load.calls import CHANNEL_OPTIONS, CallFailed, Requests, Stream, Transport, Unary
from console.load.corpora import MAX_TEXT_BYTES, Corpus, load_corpus
from console.load.protocol import Changed, Event, Started, Stopped
from console.load.recorder import Recorder

REQUEST_TIMEOUT_S = 30.0
TICK_S = 0.1
TICKS_PER_INTERVAL = 10
STOP_PATIENCE_S = 5.0
UNAVAILABLE_ATTEMPTS = 5
FIRST_BACKOFF_S = 0.05
PAUSE_AFTER_ERROR_S = 0.1
"""A caller whose request failed waits so long: an engine that refuses at once must not be hammered."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the callers send now."""

    spec: LoadSpec
    requests: Requests
    corpus: Corpus


async def make_plan(spec: LoadSpec, max_text_bytes: int) -> Plan:
    """Reads or generates the corpus off the event loop, so that callers of the old plan run on. Raises CorpusError."""

    def build() -> Plan:
        corpus = load_corpus(spec.corpus, spec.seed, max_text_bytes)
        return Plan(spec, Requests(corpus.texts, spec.workload), corpus)

    return await asyncio.to_thread(build)


def retry_pause_s(failure: CallFailed, attempt: int) -> float | None:
    """How long to wait before attempt + 1; None when this failure is final."""
    if failure.code == "RESOURCE_EXHAUSTED":
        return failure.retry_after_s
    if failure.code == "UNAVAILABLE" and attempt < UNAVAILABLE_ATTEMPTS:
        return failure.retry_after_s or FIRST_BACKOFF_S * 2.0 ** (attempt - 1)
    return None


class Driver:
    """One load on one engine, from `start` to `stop`. `emit` receives every event."""

    def __init__(
        self,
        target: str,
        plan: Plan,
        emit: Callable[[Event], None],
        max_text_bytes: int = MAX_TEXT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
        self._plan = plan
        self._max_text_bytes = max_text_bytes
        self._emit = emit
        self._clock = clock
        self._recorder = Recorder(clock)
        self._callers: dict[int, asyncio.Task[None]] = {}
        self._wanted = 0
        self._reporter: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the callers and the reports."""
        self._emit(Started(self._clock(), self._plan.spec.corpus, len(self._plan.corpus.texts)))
        self._reporter = asyncio.create_task(self._report())
        self._set_concurrency(self._plan.spec.concurrency)

    async def change(self, spec: LoadSpec) -> None:
        """Every request from now on follows `spec`; those in flight finish as they are. Raises CorpusError."""
        old = self._plan.spec
        if (spec.corpus, spec.seed, spec.workload) == (old.corpus, old.seed, old.workload):
            self._plan = Plan(spec, self._plan.requests, self._plan.corpus)
        else:
            self._plan = await make_plan(spec, self._max_text_bytes)
        self._set_concurrency(spec.concurrency)
        self._emit(Changed(self._clock(), len(self._plan.corpus.texts)))

    async def stop(self, patience_s: float = STOP_PATIENCE_S) -> None:
        """Lets the requests in flight finish, reports the last interval, then Stopped."""
        self._wanted = 0
        tasks = list(self._callers.values())
        abandoned = 0
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=patience_s)
            abandoned = self._recorder.in_flight
            for task in pending:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._reporter is not None:
            self._reporter.cancel()
            await asyncio.gather(self._reporter, return_exceptions=True)
        self._emit(self._recorder.cut())
        recorder = self._recorder
        self._emit(Stopped(self._clock(), recorder.requests, recorder.texts, dict(recorder.errors), abandoned))
        await self._channel.close()

    def _set_concurrency(self, wanted: int) -> None:
        self._wanted = wanted
        for number in range(wanted):
            if number not in self._callers:
                self._callers[number] = asyncio.create_task(self._call_in_a_loop(number))

    async def _call_in_a_loop(self, number: int) -> None:
        transport: Transport | None = None
        shape: tuple[bool, bool] | None = None
        try:
            while number < self._wanted:
                plan = self._plan
                if transport is None or shape != (plan.spec.stream, plan.requests.is_pairs):
                    if transport is not None:
                        transport.close()
                    shape = (plan.spec.stream, plan.requests.is_pairs)
                    streamed = plan.spec.stream and not plan.requests.is_pairs
                    transport = Stream(self._channel) if streamed else Unary(self._channel, plan.requests.is_pairs)
                if not await self._one_request(plan, transport):
                    await asyncio.sleep(PAUSE_AFTER_ERROR_S)
        finally:
            if transport is not None:
                transport.close()
            if self._callers.get(number) is asyncio.current_task():
                del self._callers[number]

    async def _one_request(self, plan: Plan, transport: Transport) -> bool:
        """True when it was answered."""
        size = plan.spec.batch
        body = plan.requests.take(size)
        recorder, clock = self._recorder, self._clock
        started_s = clock()
        deadline_s = started_s + REQUEST_TIMEOUT_S
        attempt = 0
        recorder.in_flight += 1
        try:
            while True:
                attempt += 1
                try:
                    reply = await transport.call(body, size, max(deadline_s - clock(), 0.001))
                except CallFailed as failure:
                    pause_s = retry_pause_s(failure, attempt)
                    if pause_s is None or clock() + pause_s >= deadline_s:
                        recorder.failed(failure.code, failure.message)
                        return False
                    recorder.retried(failure.code, failure.message)
                    await asyncio.sleep(pause_s)
                except Exception as error:  # a caller that died silently would lower the load unseen
                    recorder.failed("DRIVER_FAULT", f"{type(error).__name__}: {error}")
                    return False
                else:
                    recorder.succeeded(reply, size, plan.requests.is_pairs, started_s, clock())
                    return True
        finally:
            recorder.in_flight -= 1

    async def _report(self) -> None:
        """A tick every 100 ms and an interval every 1 s, on a grid that is never re-anchored."""
        begin_s = self._clock()
        ticks = 0
        while True:
            ticks = max(ticks + 1, int((self._clock() - begin_s) / TICK_S))
            await asyncio.sleep(max(begin_s + ticks * TICK_S - self._clock(), 0.0))
            self._emit(self._recorder.tick())
            if ticks % TICKS_PER_INTERVAL == 0:
                self._emit(self._recorder.cut())
