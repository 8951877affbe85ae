"""A headless run on a fake engine: figures, verdicts, exit codes, and what Ctrl+C leaves."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from console.analysis.steady_state import Judgement, Rates
from console.analysis.validity import Lag
from console.commands.run import exit_code
from console.load.protocol import Interval
from console.measure.certification import SteadyIntervals, is_certified, is_complete, steady
from console.measure.driver_ceiling import Ceiling
from console.measure.measurement import Measurement
from console.measure.result import as_json
from console.measure.run import _wait_until_measured
from console.measure.spec import RunSpec
from console.model.engine import Batching, Deployment, Engine, EngineState, Notice
from console.model.frame import Frame
from console.model.load import Load, LoadSpec, Percentiles, Stages
from console.model.verdicts import Verdict
from console.output.run import as_text
from console.session.live_metrics import Batches
from tests.unit.console.support.intervals import second

if TYPE_CHECKING:
    from console.session.session import Session

STEADY = Judgement(True, "the last 3 windows' max/min is 1.01, within 1.10", 1.01)
SHAKY = Judgement(False, "the last 3 windows' max/min is 1.40, beyond 1.10", 1.40)

GOOD = Measurement(
    run_id="r-1",
    spec=RunSpec(LoadSpec(32, 4)),
    engine=Engine(
        requested=Deployment("onnx", "int8"),
        effective=Deployment("onnx", "fp32", device="cpu", instances=2, threads=1),
        warnings=(Notice("not_built", "int8 is not built yet: fp32 is used", "choose fp32"),),
        batching=Batching(),
    ),
    duration_s=10.0,
    rates=Rates(40.0, 1280.0, 0.0, 1250.0, 1310.0),
    latency=Percentiles(400, 99.0, 98.0, 110.0, 120.0, None, 150.0),
    throughput_judgement=STEADY,
    p95_judgement=STEADY,
    stages=Stages(1, 2, 3, 4),
    batches=Batches(30.0, 400.0, 0.1),
    rss_bytes=1 << 28,
    client_cpu_cores=0.2,
    saturated=False,
    errors={},
    retries=0,
    truncated_texts=0,
    interrupted=False,
)


@pytest.mark.parametrize(
    ("measurement", "verdict", "code"),
    [
        (GOOD, Verdict.OK, 0),
        (replace(GOOD, spec=RunSpec(LoadSpec(), slo_p95_ms=130.0)), Verdict.OK, 0),
        (replace(GOOD, spec=RunSpec(LoadSpec(), slo_p95_ms=100.0)), Verdict.OK, 1),
        (replace(GOOD, p95_judgement=SHAKY), Verdict.OK, 0),
        (replace(GOOD, p95_judgement=SHAKY, spec=RunSpec(LoadSpec(), slo_p95_ms=100.0)), Verdict.UNSTABLE, 2),
        (replace(GOOD, throughput_judgement=SHAKY), Verdict.UNSTABLE, 2),
        (replace(GOOD, throughput_judgement=SHAKY, saturated=True), Verdict.CLIENT_BOUND, 4),
        (replace(GOOD, saturated=True, failure="the engine was lost"), Verdict.FAILED, 5),
        (replace(GOOD, rates=None, throughput_judgement=SHAKY), Verdict.UNSTABLE, 2),
    ],
)
def test_the_first_exit_code_that_applies_is_the_worst(measurement: Measurement, verdict: Verdict, code: int) -> None:
    assert measurement.verdict is verdict
    assert exit_code(measurement) == code


def test_flags_that_the_engine_itself_refused_are_a_usage_error() -> None:
    assert exit_code(replace(GOOD, failure="no such model"), engine_exit_code=3) == 3


def test_the_json_object_has_the_contract_s_fields_and_null_for_what_cannot_be_stated() -> None:
    found: dict[str, Any] = json.loads(json.dumps(as_json(GOOD)))
    contract = """schema_version run_id requested effective warnings workload verdict duration_s throughput latency_ms
        server client errors fidelity environment"""
    assert set(contract.split()) <= set(found)
    assert set(found["throughput"]) == {"texts_per_s", "pairs_per_s", "requests_per_s", "ci_low", "ci_high"}
    assert found["throughput"]["pairs_per_s"] is None
    assert set(found["latency_ms"]) == {"n", "mean", "p50", "p90", "p95", "p99", "max"}
    assert found["latency_ms"]["p99"] is None
    assert {"batch", "concurrency", "rate", "workload", "corpus", "stream"} <= set(found["workload"])
    assert set(found["server"]["stages_ms"]) == {"queue", "tokenize", "infer", "serialize"}
    assert found["warnings"][0]["code"] == "not_built"


def test_the_human_form_says_what_fell_back_how_fast_how_sure_and_that_the_loop_is_closed() -> None:
    text = as_text(GOOD)
    for part in (
        "1,280.0 texts/s",
        "95 %: 1,250 to 1,310",
        "requested   onnx·int8, effective onnx·fp32",
        "int8 is not built yet",
        "closed loop",
        "p99 – (needs 662 requests)",
        "n=400",
        "ok: steady",
    ):
        assert part in text


def test_a_run_that_was_too_short_says_which_duration_would_do() -> None:
    short = Judgement(False, "too short to judge: 2 of 3 windows of at least 1 s and 50 requests", short=True)
    slow = replace(GOOD, throughput_judgement=short, latency=Percentiles(140, 99.0, 98.0))
    assert slow.required_duration_s == 15
    assert "use --duration 15s, or --duration auto" in as_text(slow)
    assert as_json(slow)["verdicts"]["duration_needed_s"] == 15
    watched = replace(slow, throughput_judgement=STEADY, p95_judgement=short, spec=RunSpec(LoadSpec(), slo_p95_ms=99.0))
    assert watched.required_duration_s == 36  # three windows of 130
    assert GOOD.required_duration_s is None
    assert "--duration" not in as_text(replace(GOOD, throughput_judgement=SHAKY))


def test_figures_are_certified_when_throughput_is_steady_and_p95_can_be_stated() -> None:
    spec = RunSpec(LoadSpec(), at_most_s=60.0)
    assert is_certified([second(index, 20) for index in range(10)], spec)
    assert not is_certified([second(index, 12) for index in range(10)], spec)  # 120 requests: no p95
    assert not is_certified([second(index, 20 + 4 * index) for index in range(10)], spec)
    late = [second(index, 60 if index < 4 else 120) for index in range(10)]
    assert not is_certified(late, spec)  # steady at last, but not what the figure over all of it is
    assert is_certified(late, replace(spec, load=LoadSpec(rate=30.0)))
    watched = replace(spec, slo_p95_ms=50.0)
    assert not is_certified([second(index, 30) for index in range(10)], watched)  # two windows of 130
    assert is_certified([second(index, 60) for index in range(10)], watched)


def test_a_steady_run_with_a_wide_interval_says_so() -> None:
    wide = replace(GOOD, rates=Rates(180.0, 1441.0, 0.0, 1161.0, 1721.0), throughput_judgement=STEADY)
    assert "ok: steady" in as_text(wide)
    assert "the interval is wide, ±19%: earlier seconds differed" in as_text(wide)
    assert "wide" not in as_text(replace(wide, rates=Rates(180.0, 1441.0, 0.0, 1400.0, 1482.0)))


def test_an_open_loop_says_so_and_tells_lag_and_dropped_arrivals() -> None:
    load = LoadSpec(8, rate=200.0, arrival="constant", ramp_s=5.0)
    opened = replace(
        GOOD, spec=RunSpec(load), lag=Lag(1000, 0.2, 0.5, 0.8), dropped=1200, ceiling=Ceiling(4000.0, 250.0)
    )
    text = as_text(opened)
    for part in (
        "open loop at 200 requests/s (constant), batch 8",
        "a ramp of 5 s",
        "from the scheduled time",
        "sent late by p99 0.80 ms",
        "1,200 arrivals dropped with 1,024 requests unanswered",
        "1% of its own ceiling of 4,000 requests/s",
    ):
        assert part in text
    found = as_json(opened)
    assert (
        found["workload"] | {"rate": 200.0, "arrival": "constant", "loop": "open", "concurrency": None}
        == (found["workload"])
    )
    assert found["client"]["send_lag_ms"] == {"n": 1000, "p50": 0.2, "p95": 0.5, "p99": 0.8}
    assert found["client"]["dropped"] == 1200
    assert found["client"]["ceiling"]["share"] == pytest.approx(0.01)


def test_an_open_loop_tells_what_chance_made_of_its_rate() -> None:
    chance = replace(GOOD, spec=RunSpec(LoadSpec(1, rate=150.0)), duration_s=8.0, lag=Lag(1307, 0.1, 0.2, 0.4))
    assert "poisson arrivals of seed 0 came at 163.4/s in this time" in as_text(chance)
    assert "arrivals of seed" not in as_text(replace(chance, lag=Lag(1201, 0.1, 0.2, 0.4)))


def test_a_driver_that_sent_late_is_told_apart_from_one_that_was_busy() -> None:
    late = replace(GOOD, saturated=True, lag=Lag(1000, 1.0, 5.0, 9.0))
    assert "its send lag was p99 9.0 ms" in as_text(late)
    busy = replace(GOOD, saturated=True, client_cpu_cores=0.97)
    assert "used 97% of a core, so the engine may be faster" in as_text(busy)


def test_an_open_loop_that_is_not_kept_up_with_says_that_first() -> None:
    behind = Judgement(False, "923 of 1,200 arrivals were dropped")
    short = Judgement(False, "too short to judge: 0 of 3 windows", short=True)
    overloaded = replace(GOOD, spec=RunSpec(LoadSpec(4, rate=200.0)), little=behind, throughput_judgement=short)
    assert "unstable: 923 of 1,200 arrivals were dropped" in as_text(overloaded)


def test_littles_law_broken_is_unstable_with_its_reason() -> None:
    broken = replace(GOOD, little=Judgement(False, "Little's law is off by 50%: a backlog grows", 0.5))
    assert broken.verdict is Verdict.UNSTABLE
    assert "a backlog grows" in as_text(broken)
    assert as_json(broken)["verdicts"]["requests_in_flight"]["holds"] is False


def test_the_bottleneck_is_one_sentence_in_both_forms() -> None:
    sentence = as_json(GOOD)["bottleneck"]["sentence"]
    assert "outside the server" in sentence  # 10 of 99 ms are the server's
    assert sentence in as_text(GOOD)


SCRIPT = """
import sys
from console.commands.run import run_once
from console.measure.spec import RunSpec
from console.model.load import LoadSpec
from console.session.port import SessionOptions

command = (sys.executable, "-m", "tests.support.fake_engine", *sys.argv[2:])
spec = RunSpec(LoadSpec(8, 4), duration_s=float(sys.argv[1]), warm_up_s=0.0)
sys.exit(run_once(SessionOptions(engine_command=command, start=True), spec, coalesce=None, as_json=True))
"""


def run_child(duration_s: float, flags: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(duration_s), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_measures_what_it_was_asked_to_and_keeps_progress_off_stdout() -> None:
    output, progress = (child := run_child(3.0, ["--delay-ms", "5"])).communicate()
    found = json.loads(output)
    assert child.returncode in (0, 2)  # a busy machine may make it unstable
    assert found["verdict"] in ("ok", "unstable")
    assert found["duration_s"] == pytest.approx(3.0, abs=0.5)
    assert found["throughput"]["texts_per_s"] == pytest.approx(8 * found["throughput"]["requests_per_s"], rel=0.01)
    assert found["errors"] == {}
    assert found["effective"]["backend"] == "onnx"
    assert "measuring" in progress
    assert "prepare 1/3" in progress or "starting the engine" in progress


def test_an_engine_that_does_not_start_fails_the_run_with_its_own_words() -> None:
    output, _ = (child := run_child(3.0, ["--fail-start", "5"])).communicate()
    assert child.returncode == 5
    assert json.loads(output)["failure"] == "no backend 'nope': choose torch or onnx"
    output, _ = (child := run_child(3.0, ["--fail-start", "3"])).communicate()
    assert child.returncode == 3


def test_requests_that_all_fail_fail_the_run_and_are_counted() -> None:
    output, _ = (child := run_child(1.0, ["--fault", "invalid"])).communicate()
    found = json.loads(output)
    assert child.returncode == 5
    assert found["verdict"] == "failed"
    assert found["errors"]["INVALID_ARGUMENT"] > 0
    assert found["throughput"]["texts_per_s"] is None


def test_ctrl_c_prints_what_there_is_and_exits_130() -> None:
    child = run_child(600.0, [])
    assert child.stderr is not None
    while "measuring" not in child.stderr.readline():
        assert child.poll() is None
    os.kill(child.pid, signal.SIGINT)
    output, _ = child.communicate()
    assert child.returncode == 130
    assert json.loads(output)["interrupted"]


@pytest.mark.parametrize(
    ("steady_from", "at_most_s", "lasts_s"),
    [(0, 20.0, 10), (8, 60.0, 22), (100, 14.0, 14), (100, None, 10)],
    ids=["steady from the start", "steady later", "never steady", "a fixed duration"],
)
def test_auto_measures_until_the_figures_are_certified_and_no_longer_than_it_may(
    steady_from: int, at_most_s: float | None, lasts_s: int
) -> None:
    spec = RunSpec(LoadSpec(), 10.0, at_most_s=at_most_s)
    speeds = [40 + 30 * (index % 4) if index < steady_from else 100 for index in range(60)]
    seconds = [second(index, speed) for index, speed in enumerate(speeds)]
    assert next(n for n in range(1, 60) if is_complete(seconds[:n], spec)) == lasts_s


def steady_by_definition(intervals: Sequence[Interval], started_s: float, spec: RunSpec) -> list[Interval]:
    """All of the history, looked at anew: slow, and what the incremental way has to come to."""
    kept: list[Interval] = []
    for interval in intervals:
        if interval.start_s < started_s + spec.load.ramp_s + spec.warm_up_s - 0.05 or interval.duration_s < 0.5:
            continue
        if sum(one.duration_s for one in kept) < spec.longest_s - 0.05:
            kept.append(interval)
    return kept


def uneven_history(seed: int) -> list[Interval]:
    """Seconds as a driver cuts them: a little off, with gaps between loads and the rest of a load that ended."""
    chance, start_s, history = random.Random(seed), 0.0, list[Interval]()  # noqa: S311 - noise, not a secret
    for index in range(80):
        duration_s = chance.choice([0.2, 0.5, 0.499]) if chance.random() < 0.1 else 1 + chance.gauss(0, 0.004)
        history.append(replace(second(index, chance.randint(0, 60)), start_s=start_s, duration_s=duration_s))
        start_s += duration_s + (chance.random() * 5 if chance.random() < 0.05 else 0.0)
    return history


@pytest.mark.parametrize("spec", [
    RunSpec(LoadSpec(), 10.0, 3.0),
    RunSpec(LoadSpec(ramp_s=4.0), 7.5, 0.0),
    RunSpec(LoadSpec(), 5.0, 1.0, slo_p95_ms=50.0, at_most_s=40.0),
    RunSpec(LoadSpec(), 600.0, 0.0),
])  # fmt: skip
def test_intervals_taken_as_they_come_are_those_that_the_whole_history_gives(spec: RunSpec) -> None:
    for seed in range(25):
        history = uneven_history(seed)
        started_s = history[seed % 10].start_s
        found, judged = SteadyIntervals(started_s, spec), 0
        for heard in range(0, len(history) + 1, 1 + seed % 3):
            expected = steady_by_definition(history[:heard], started_s, spec)
            assert found.take(history[:heard]) is (len(expected) > judged)
            assert found.kept == expected == steady(history[:heard], started_s, spec)
            judged = len(expected)


class TickingSession:
    """Looks at a history of which a second becomes known every tenth look, and counts how often it is read."""

    def __init__(self, history: Sequence[Interval]) -> None:
        self.history = history
        self.looks = self.reads = 0

    @property
    def known(self) -> int:
        return self.looks // 10

    @property
    def frame(self) -> Frame:
        self.looks += 1
        running = Engine(state=EngineState.RUNNING)
        return Frame(now_s=self.looks / 10, engine=running, load=Load(running=True), points_version=self.known)

    @property
    def intervals(self) -> tuple[Interval, ...]:
        self.reads += 1
        return tuple(self.history[: self.known])


class Listening:
    """Counts how often it is told."""

    def __init__(self) -> None:
        self.heard_times = 0

    def on_start(self, run_id: str, session: "Session", started_s: float) -> None:
        raise NotImplementedError

    def on_intervals(self, session: "Session") -> None:
        self.heard_times += 1


async def test_between_two_intervals_the_history_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.measure.run._POLL_S", 0.0)
    session, observer = TickingSession([second(index) for index in range(20)]), Listening()
    spec = RunSpec(LoadSpec(), duration_s=10.0, warm_up_s=2.0)
    interrupted = asyncio.Event()
    looked: list[float | None] = []
    failure = await _wait_until_measured(
        cast("Session", session), spec, 0.0, lambda frame, left_s: looked.append(left_s), interrupted, observer
    )
    assert failure == ""
    assert session.known == 12, "ten seconds after a warm-up of two"
    assert len(looked) == 119, "progress moves ten times a second"
    assert session.reads == observer.heard_times == 13
