"""The controller of the load generator: its process, its responses to commands, and the state of the load."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count

from console.analysis.steady_state import merge
from console.analysis.validity import send_lag
from console.load.arrivals import ARRIVALS
from console.load.protocol import Change, Changed, Event, Interval, Refused, Start, Started, Stop, Stopped, Tick
from console.model.errors import CommandRefused
from console.model.load import Load, LoadSpec
from console.session.child_process import ChildGone
from console.session.driver_process import DriverProcess
from console.session.live_metrics import WARM_UP_S, LiveMetrics

ANSWER_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 8.0
MAX_BATCH = 100_000
MAX_CONCURRENCY = 4096
MAX_RATE = 100_000
MAX_IN_FLIGHT = 65_536
_SAME_ERROR_S = 10.0
"""The same error of requests is logged once in this time."""
UNREADABLE_LOG_S = 60.0
"""Unreadable intervals are logged once in this time, with their number."""


@dataclass(frozen=True, slots=True)
class LoadEvents:
    """Callbacks of LoadController. Times are the session's."""

    log: Callable[[str, str, str], None]
    """source, level, text"""
    interval: Callable[[Interval], None]
    started: Callable[[float], None] = lambda started_s: None
    """A load started, or the running one changed."""
    stopped: Callable[[str], None] = lambda failure: None
    """The load stopped; takes why, if it did not stop in order."""


def check_load(spec: LoadSpec) -> None:
    """Raises CommandRefused if a value of the specification is out of its range."""
    if not 1 <= spec.batch <= MAX_BATCH:
        raise CommandRefused(f"batch {spec.batch}: choose 1 to {MAX_BATCH:,} texts a request")
    if not 1 <= spec.concurrency <= MAX_CONCURRENCY:
        raise CommandRefused(f"concurrency {spec.concurrency}: choose 1 to {MAX_CONCURRENCY:,} requests in flight")
    if spec.workload not in ("texts", "pairs"):
        raise CommandRefused(f"workload {spec.workload!r}: choose texts or pairs")
    if spec.stream and spec.workload == "pairs":
        raise CommandRefused("pairs cannot be streamed: choose texts, or no stream")
    if not 0 <= spec.rate <= MAX_RATE:
        raise CommandRefused(f"rate {spec.rate:g}: choose up to {MAX_RATE:,} requests a second, or 0 for a closed loop")
    if spec.arrival not in ARRIVALS:
        raise CommandRefused(f"arrival {spec.arrival!r}: choose {' or '.join(ARRIVALS)}")
    if not 0 <= spec.ramp_s < math.inf:
        raise CommandRefused(f"ramp {spec.ramp_s:g} s: choose 0 or more seconds")
    if not 1 <= spec.max_in_flight <= MAX_IN_FLIGHT:
        raise CommandRefused(f"{spec.max_in_flight} requests in flight: choose 1 to {MAX_IN_FLIGHT:,}")


def unreadable_reason(interval: Interval) -> str:
    """Returns why a histogram of the interval cannot be decoded; empty if all can.

    Uses the same functions as the metrics do: one bad interval would fail every metric that includes it.
    """
    try:
        for answers in (interval.answers, *interval.epochs.values()):
            merge((answers,))
        send_lag((interval,))
    except Exception as error:  # the decoder raises what binascii, zlib, ctypes and its own checks raise
        return f"{type(error).__name__}: {error}"
    return ""


class LoadController:
    """Owns the `Load` value. Call its methods in the event loop's thread only.

    Start and Change run one after another, so that each sees the result of the previous one. The response to a command
    repeats the command's id, so that a response whose caller was cancelled is not taken for that of another command.
    """

    def __init__(
        self,
        spec: LoadSpec,
        metrics: LiveMetrics,
        events: LoadEvents,
        now_s: Callable[[], float],
        origin_s: float,
        *,
        make_driver: Callable[..., DriverProcess] = DriverProcess,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        """`origin_s`: the time on the monotonic clock at which the session's time is 0."""
        self.load = Load(spec=spec)
        self.steady_since_s = 0.0
        self._metrics = metrics
        self._events = events
        self._now_s = now_s
        self._origin_s = origin_s
        self._driver = make_driver(self._on_event, lambda level, text: events.log("driver", level, text), self._on_exit)
        self._answer_timeout_s = answer_timeout_s
        self._command_lock = asyncio.Lock()
        self._ids = count(1)
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._stopped = asyncio.Event()
        self._stopped.set()
        self._started_s = 0.0
        self._experiment = False
        self._errors: Counter[str] = Counter()
        self._last_error = ("", 0.0)
        self.unreadable_intervals = 0
        self._unreadable_logged_s = -math.inf

    async def start(self, spec: LoadSpec, address: str, max_text_bytes: int, experiment: bool = False) -> None:
        """Starts a load; returns when its callers run. If cancelled, no load remains. Raises CommandRefused.

        `experiment`: as in Load.
        """
        check_load(spec)
        async with self._command_lock:
            if self.load.running:
                raise CommandRefused("a load is running: change it, or stop it first")
            try:
                if not self._driver.running:
                    await self._driver.start()
            except OSError as error:
                raise CommandRefused(f"the load generator cannot be started: {error.strerror}") from error
            self._experiment = experiment
            try:
                await self._send_and_wait(Start(address, spec, max_text_bytes, next(self._ids)))
            except asyncio.CancelledError:
                with suppress(ChildGone):
                    self._driver.send(Stop())  # commands run in order: the load is stopped as soon as it has started
                raise

    async def change(self, spec: LoadSpec) -> None:
        """Changes the running load, or the default if none runs. Raises CommandRefused."""
        check_load(spec)
        async with self._command_lock:
            if not self.load.running:
                self.load = replace(self.load, spec=spec)
                return
            await self._send_and_wait(Change(spec, next(self._ids)))

    async def stop(self, message: str = "") -> None:
        """Stops the load; returns when no request is in flight. `message`: why, if not requested by the user."""
        if not self.load.running:
            raise CommandRefused("no load is running: start one first")
        self.load = replace(self.load, message=message)
        try:
            self._driver.send(Stop())
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._stopped.wait()
        except (ChildGone, TimeoutError):
            await self._driver.stop()

    def clear_message(self) -> None:
        """Removes the reason of the last stop, which applied to a previous engine."""
        self.load = replace(self.load, message="")

    async def close(self) -> None:
        """Stops the load generator's process."""
        if self._driver.running:
            await self._driver.stop()

    @property
    def driver_pid(self) -> int:
        return self._driver.pid

    def snapshot(self) -> Load:
        if not self.load.running:
            return self.load
        now_s = self._now_s()
        return replace(self.load, elapsed_s=now_s - self._started_s, warming_up=now_s < self.steady_since_s)

    async def _send_and_wait(self, command: Start | Change) -> None:
        answer = self._answers[command.command_id] = asyncio.get_running_loop().create_future()
        try:
            self._driver.send(command)
            async with asyncio.timeout(self._answer_timeout_s):
                await answer
        except ChildGone as error:
            raise CommandRefused("the load generator has exited: try again") from error
        except TimeoutError as error:
            raise CommandRefused("the load generator does not answer: stop the load and start it again") from error
        finally:
            del self._answers[command.command_id]

    def _resolve(self, command_id: int, refusal: str = "") -> None:
        """Completes the waiting command, if its caller has not been cancelled or timed out."""
        answer = self._answers.get(command_id)
        if answer is not None and not answer.done():
            if refusal:
                answer.set_exception(CommandRefused(refusal))
            else:
                answer.set_result(None)

    def _on_event(self, event: Event) -> None:
        match event:
            case Tick():
                self._on_tick(event)
            case Interval():
                self._on_interval(event)
            case Started():
                self._on_started(event)
            case Changed():
                self.load = replace(self.load, spec=event.spec)
                changed_s = event.time_s - self._origin_s
                self.steady_since_s = changed_s + self.load.spec.ramp_s + WARM_UP_S
                self._metrics.load_started(changed_s, event.spec.ramp_s)
                self._log_load("changed to", event.texts)
                self._events.started(changed_s)
                self._resolve(event.command_id)
            case Refused():
                self._events.log("driver", "warning", event.message)
                self._resolve(event.command_id, event.message)
            case Stopped():
                self._on_stopped(event)
            case _:
                return

    def _on_started(self, event: Started) -> None:
        self._started_s = event.time_s - self._origin_s
        self.steady_since_s = self._started_s + event.spec.ramp_s + WARM_UP_S
        self._errors.clear()
        self._stopped.clear()
        self.load = Load(running=True, spec=event.spec, experiment=self._experiment)
        self._metrics.load_started(self._started_s, event.spec.ramp_s)
        self._log_load("started:", event.texts)
        self._events.started(self._started_s)
        self._resolve(event.command_id)

    def _log_load(self, verb: str, texts: int) -> None:
        spec = self.load.spec
        how = " streamed" if spec.stream else ""
        loop = f"open loop{how}, {spec.rate:g} requests/s {spec.arrival}" if spec.is_open else f"closed loop{how}"
        callers = "" if spec.is_open else f", concurrency {spec.concurrency}"
        ramp = f", ramp {spec.ramp_s:g} s" if spec.ramp_s else ""
        self._events.log(
            "driver",
            "event",
            f"load {verb} {loop}, batch {spec.batch}{callers}, {spec.workload}, corpus {spec.corpus} of {texts:,} texts"
            f"{ramp}",
        )

    def _on_tick(self, tick: Tick) -> None:
        self._metrics.tick(replace(tick, time_s=tick.time_s - self._origin_s))
        self.load = replace(
            self.load, requests=tick.requests, texts=tick.texts, retries=tick.retries, in_flight=tick.in_flight
        )

    def _on_interval(self, interval: Interval) -> None:
        def shifted(time_s: float | None) -> float | None:
            return None if time_s is None else time_s - self._origin_s

        if why := unreadable_reason(interval):
            self._count_unreadable(why)
            return
        interval = replace(
            interval,
            start_s=interval.start_s - self._origin_s,
            first_completion_s=shifted(interval.first_completion_s),
            last_completion_s=shifted(interval.last_completion_s),
        )
        self._errors.update(interval.errors)
        self._metrics.interval(interval)
        self.load = replace(
            self.load,
            errors=dict(self._errors),
            truncated_texts=self.load.truncated_texts + interval.truncated,
            dropped=self.load.dropped + interval.dropped,
            lag_p99_ms=self._metrics.lag_p99_ms(),
            cpu_cores=interval.cpu_cores,
            saturated=self._metrics.saturated(),
        )
        if interval.last_error:
            self._log_error(interval.last_error)
        self._events.interval(interval)

    def _count_unreadable(self, why: str) -> None:
        self.unreadable_intervals += 1
        if self._now_s() - self._unreadable_logged_s >= UNREADABLE_LOG_S:
            self._unreadable_logged_s = self._now_s()
            text = f"an interval's histogram cannot be read ({why}): {self.unreadable_intervals:,} dropped so far"
            self._events.log("driver", "warning", text)

    def _log_error(self, text: str) -> None:
        """Logs an error of requests, the same one at most once in _SAME_ERROR_S."""
        last_text, last_s = self._last_error
        if text != last_text or self._now_s() - last_s > _SAME_ERROR_S:
            self._last_error = (text, self._now_s())
            self._events.log("driver", "warning", f"requests fail: {text}")

    def _on_stopped(self, event: Stopped) -> None:
        self.load = replace(
            self.load,
            running=False,
            warming_up=False,
            in_flight=0,
            requests=event.requests,
            texts=event.texts,
            elapsed_s=event.time_s - self._origin_s - self._started_s,
        )
        self._metrics.load_stopped()
        abandoned = f", {event.abandoned} abandoned in flight" if event.abandoned else ""
        self._events.log("driver", "event", f"load stopped after {event.requests:,} requests{abandoned}")
        self._events.stopped("")
        self._stopped.set()

    def _on_exit(self, code: int) -> None:
        if self.load.running:
            message = f"the load generator exited unexpectedly (code {code}): start the load again"
            self.load = replace(self.load, running=False, in_flight=0, message=message)
            self._metrics.load_stopped()
            self._events.log("driver", "error", message)
            self._events.stopped(message)
        self._stopped.set()
        for command_id in tuple(self._answers):
            self._resolve(command_id, "the load generator has exited: try again")
