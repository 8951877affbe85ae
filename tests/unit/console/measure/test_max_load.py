"""The highest load under an SLO is found by doubling and bisection, agreed on by two trials, and its limit is named."""

import asyncio
import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from console.analysis.steady_state import Judgement
from console.analysis.validity import Lag
from console.cli.main import main
from console.commands.max_load import as_json, as_text
from console.measure.max_load import MaxLoad, MaxLoadSpec, find_max_load, limit_of
from console.measure.max_load_search import Bounds, Limit, Search
from console.measure.recorder import Recorder
from console.measure.spec import RunSpec
from console.model.load import LoadSpec, Percentiles
from console.session.port import SessionOptions
from console.session.session import Session
from console.store.read import list_runs
from tests.support.fake_engine import FakeEngine, start_server
from tests.unit.console.support.made import GOOD, STEADY, store_in

RATES = Bounds(28.0, 2.4, 20_000.0)
CALLERS = Bounds(1.0, 1.0, 64.0, whole=True)


def searched(bounds: Bounds, tried: Callable[[float, bool], Limit], most: int = 80) -> tuple[Search, list[float]]:
    search, levels = Search(bounds), list[float]()
    while (level := search.next()) is not None:
        levels.append(level)
        search.report(tried(level, search.remeasuring))
        assert len(levels) < most, "it ends"
    return search, levels


def up_to(most: float) -> Callable[[float, bool], Limit]:
    return lambda level, again: Limit.NONE if level <= most else Limit.SLO


@pytest.mark.parametrize("most", [3.0, 28.0, 40.0, 333.0, 5000.0])
def test_the_highest_rate_that_holds_is_found_within_five_percent(most: float) -> None:
    search, levels = searched(RATES, up_to(most))
    assert search.best is not None
    assert search.best <= most <= search.best * 1.08
    assert search.binding is Limit.SLO
    assert levels[-1] == search.best, "the winner is measured again"
    assert len(search.trials[search.best]) == 2, "after two agreeing trials"


@pytest.mark.parametrize("most", range(1, 20))
def test_callers_are_found_exactly(most: int) -> None:
    assert searched(CALLERS, up_to(most))[0].best == most


def test_doubling_comes_first_then_bisection() -> None:
    _, levels = searched(RATES, up_to(200.0))
    assert levels[:4] == [28.0, 56.0, 112.0, 224.0]
    assert levels[4] == 224.0, "a limit takes a second trial"
    assert 112.0 < levels[5] < 224.0


def test_where_nothing_holds_there_is_no_winner_and_the_limit_is_named() -> None:
    search, levels = searched(RATES, lambda level, again: Limit.ERRORS)
    assert search.best is None
    assert search.binding is Limit.ERRORS
    assert min(levels) < 28.0


def test_where_all_holds_the_top_is_the_answer_and_nothing_binds() -> None:
    search, _ = searched(CALLERS, up_to(math.inf))
    assert (search.best, search.binding) == (64.0, Limit.NONE)


def test_one_hiccup_is_outvoted() -> None:
    once = {112.0}

    def tried(level: float, again: bool) -> Limit:
        if level in once:
            once.remove(level)
            return Limit.UNSTABLE
        return Limit.NONE if level <= 200 else Limit.SLO

    search, _ = searched(RATES, tried)
    assert search.best is not None
    assert search.best > 185


def test_a_winner_that_does_not_hold_again_gives_way_to_a_lower_one() -> None:
    search, _ = searched(RATES, lambda level, again: Limit.NONE if level <= (150 if again else 200) else Limit.SLO)
    assert search.best is not None
    assert search.best <= 150
    assert search.remeasured[search.best] is Limit.NONE


def test_the_client_is_the_limit_only_where_no_other_trial_of_that_level_blames_the_engine() -> None:
    for told, binding in (((Limit.CLIENT, Limit.SLO), Limit.SLO), ((Limit.CLIENT, Limit.CLIENT), Limit.CLIENT)):
        assert Search(RATES, {56.0: [Limit.NONE], 112.0: list(told)}).binding is binding


def test_it_ends_however_the_machine_behaves() -> None:
    for seed in range(30):
        chance = random.Random(seed)  # noqa: S311 - noise, not a secret
        searched(RATES, lambda level, again, c=chance: c.choice(list(Limit)), most=400)  # type: ignore[misc]


FINE = replace(GOOD, errors={}, p95_judgement=STEADY, latency=Percentiles(400, 9, 9, 9, 9.0, None, 12))

SLOW = Percentiles(400, 9, 9, 9, 60.0, None, 99)


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, Limit.NONE),
        ({"saturated": True}, Limit.NONE),
        ({"latency": SLOW, "saturated": True}, Limit.CLIENT),
        ({"latency": SLOW, "saturated": True, "lag": Lag(700, 0.2, 2.0, 4.0)}, Limit.SLO),
        ({"latency": SLOW, "saturated": True, "lag": Lag(700, 1.0, 9.0, 14.0)}, Limit.CLIENT),
        ({"latency": SLOW, "saturated": True, "lag": Lag(700, 0.2, 2.0, 4.0), "client_cpu_cores": 0.98}, Limit.CLIENT),
        ({"errors": {"UNAVAILABLE": 5}}, Limit.ERRORS),
        ({"latency": SLOW}, Limit.SLO),
        ({"latency": Percentiles(99, 9, 9, 9, None, None, 12)}, Limit.UNSTABLE),
        ({"little": Judgement(False, "a backlog grows")}, Limit.UNSTABLE),
        ({"errors": {"UNAVAILABLE": 5}, "saturated": True}, Limit.ERRORS),
    ],
)
def test_the_limit_of_a_trial_is_named(changes: dict[str, object], limit: Limit) -> None:
    assert limit_of(replace(FINE, **changes), 50.0) is limit  # type: ignore[arg-type]


def test_a_winner_whose_requests_went_out_late_is_no_worse_for_it() -> None:
    search, _ = searched(RATES, up_to(118.0))
    spec = RunSpec(LoadSpec(8, rate=118.0), slo_p95_ms=50.0)
    winner = replace(FINE, spec=spec, saturated=True, lag=Lag(700, 0.2, 2.0, 4.0))
    found = MaxLoad(MaxLoadSpec(LoadSpec(8), 50.0), search, winner=winner)
    assert found.exit_code == 0
    assert "verdict     ok: some requests were sent late; SLO met" in as_text(found)


def test_every_trial_has_a_chance_of_its_own() -> None:
    spec = MaxLoadSpec(LoadSpec(1, seed=7), 50.0)
    assert [spec.trial(100.0, number=number).load.seed for number in range(3)] == [7, 8, 9]


def test_trials_hold_enough_requests_for_a_p95() -> None:
    spec = MaxLoadSpec(LoadSpec(1), 50.0)
    for rate in (spec.bounds.least, spec.bounds.start, 500.0):
        assert rate * spec.trial(rate).duration_s >= 174
    assert spec.trial(100.0, again=True).duration_s == 10.0
    assert replace(spec, closed=True).trial(8.0).load.concurrency == 8


def lefts(spec: MaxLoadSpec, tried: Callable[[float, bool], Limit]) -> list[float]:
    """The time that is left after each trial of five seconds, until the search ends."""
    result, left_s = MaxLoad(spec, Search(spec.bounds)), list[float]()
    while (level := result.search.next()) is not None:
        again = result.search.remeasuring
        result.search.report(tried(level, again))
        result.count_down(spec.trial(level, again=again).duration_s)
        left_s.append(result.left_s)
    return left_s


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("most", [0.0, 3.0, 40.0, 640.0, 5000.0, math.inf])
def test_the_time_left_counts_down_from_the_first_trial_to_the_last(most: float, closed: bool) -> None:
    left_s = lefts(MaxLoadSpec(LoadSpec(1), 50.0, closed=closed), up_to(most))
    longer = sum(later >= earlier for earlier, later in pairwise(left_s))
    assert longer <= (most < 28), f"only a search that has to go down takes longer than it seemed: {left_s}"
    assert left_s[-1] == 0.0


def test_the_time_left_never_grows_while_a_level_holds_however_the_trials_disagree() -> None:
    spec = MaxLoadSpec(LoadSpec(1), 50.0)
    for seed in range(20):
        chance = random.Random(seed)  # noqa: S311 - noise, not a secret
        result, before_s = MaxLoad(spec, Search(spec.bounds)), math.inf
        while (level := result.search.next()) is not None:
            result.search.report(chance.choice(list(Limit)))
            result.count_down(spec.trial(level).duration_s)
            assert result.left_s <= before_s or result.search.best is None
            before_s = result.left_s


async def test_trials_run_on_one_engine_and_are_stored(tmp_path: Path) -> None:
    """Requests are served one after another, 20 ms each: no more than 50 a second can hold."""
    engine = FakeEngine(delay_s=0.02)
    engine.one_at_a_time = asyncio.Lock()
    server, address = await start_server(engine)
    spec = MaxLoadSpec(LoadSpec(1, rate=1.0, arrival="constant"), 100.0, trial_s=1.0, warm_up_s=0.0)
    told: list[str] = []
    interrupted = asyncio.Event()

    def tell(line: str) -> None:
        told.append(line)
        interrupted.set()

    with store_in(tmp_path) as store:

        def recorder(trial: RunSpec) -> Recorder:
            return Recorder(store, trial)

        try:
            async with Session(SessionOptions(connect=address)) as session:
                found = await find_max_load(session, spec, interrupted, lambda frame, left_s: None, tell, recorder)
        finally:
            await server.stop(None)
        assert [row.run_id for row in reversed(list_runs(store))] == [one.run_id for _, _, one in found.trials]
    assert [level for level, _, _ in found.trials] == [175.0]
    assert all(limit in (Limit.SLO, Limit.UNSTABLE) for _, limit, _ in found.trials)
    assert "at most" in told[0]
    assert "none found with p95 ≤ 100 ms" in as_text(found)
    assert json.loads(json.dumps(as_json(found)))["max"] is None
    assert found.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing option '--slo-p95'"),
        (["--slo-p95", "50", "--rate", "5"], "max-load searches for --rate"),
        (["--slo-p95", "50", "--concurrency", "5"], "max-load searches for --concurrency"),
    ],
)
def test_what_it_looks_for_cannot_be_given(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["max-load", *arguments])
    assert ended.value.code == 3
    assert says in capsys.readouterr().err
