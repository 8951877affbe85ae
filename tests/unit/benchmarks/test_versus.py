"""The comparison of two revisions: its arguments, equal serving of both sides, and its verdict."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.peers.processes import Failed
from benchmarks.peers.workloads import Workload
from benchmarks.versus import report
from benchmarks.versus.__main__ import FIRST_BASE, parse
from benchmarks.versus.engines import (
    Cell,
    Plan,
    cache_of,
    delete_stale_caches,
    has_lifeline_flag,
    parse_cells,
    plan_in,
    serve_flags,
)
from benchmarks.versus.project import Ratio
from benchmarks.versus.report import BASE, CONTROL, OTHER, Memory, Sample
from benchmarks.versus.rounds import Load, estimate_s, parse_loads
from benchmarks.versus.trees import Tree, folder_of, requirements

COMMIT = "31acd2e58b0123456789"
ROUNDS = 4


def tree(asked: str, place: Path = Path("place"), *, changed: bool = False) -> Tree:
    return Tree(asked, COMMIT, place, place / "source", changed)


def samples(speed: Callable[[int, str], float], workload: str = "32x4-short", cell: str = "onnx int8") -> list[Sample]:
    latency = workload.startswith("1x1")
    return [
        Sample(number, cell, workload, side, speed(number, side), 1e3 / speed(number, side), latency)
        for number in range(ROUNDS)
        for side in (BASE, OTHER, CONTROL)
    ]


def memory(size_mb: Callable[[int, str], float], cell: str = "onnx int8") -> list[Memory]:
    return [
        Memory(number, cell, side, size_mb(number, side))
        for number in range(ROUNDS)
        for side in (BASE, OTHER, CONTROL)
    ]  # fmt: skip


def verdict_of(turns: list[Sample], sizes: list[Memory]) -> tuple[bool, str]:
    return report.verdict(report.rows(turns), report.memory_rows(sizes), report.means(turns, sizes))


def times(of_other: float, of_control: float = 1.0) -> Callable[[int, str], float]:
    """100 in round 0, 110 in round 1 and so on, times the factor of the side, with 0.5 % noise."""
    factors = {BASE: 1.0, OTHER: of_other, CONTROL: of_control}
    return lambda number, side: (100.0 + 10 * number) * factors[side] * (1.005 if side != BASE and number % 2 else 1.0)


# ---- what is asked ----


def test_without_arguments_the_working_tree_is_compared_with_the_first_base() -> None:
    asked = parse([])
    assert (asked.base, asked.other) == (FIRST_BASE, ".")
    assert asked.cells == (Cell("onnx", "int8"), Cell("openvino", "int8"))
    assert [load.name for load in asked.loads] == ["1x1-short", "1x32-short", "32x4-short"]
    assert asked.rounds == 6
    assert not asked.own_plans


@pytest.mark.parametrize(
    "words",
    [
        ["--rounds", "0"],
        ["--seconds", "much"],
        ["--cells", "onnx"],
        ["--cells", " , "],
        ["--cells", "onnx --strict"],
        ["--workloads", "32*4"],
        ["--workloads", ""],
        ["--workloads", "1x1-tiny"],
        ["--nothing"],
    ],
)
def test_an_invalid_command_line_exits_with_3_and_a_reason(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 3
    assert "error: " in capsys.readouterr().err


def test_cells_are_distinct_and_have_a_backend_a_precision_and_an_optional_recipe() -> None:
    assert parse_cells("onnx int8, torch fp32,onnx  int8,onnx int8 dynamic") == (
        Cell("onnx", "int8"),
        Cell("torch", "fp32"),
        Cell("onnx", "int8", "dynamic"),
    )


def test_workloads_are_short_and_unary_by_default() -> None:
    assert parse_loads("1x32,32x4-long, 1x32-short,1x8-streamed,1x8-mixed-streamed") == (
        Load(Workload(1, 32, "short")),
        Load(Workload(32, 4, "long")),
        Load(Workload(1, 8, "short"), streamed=True),
        Load(Workload(1, 8, "mixed"), streamed=True),
    )


def test_only_single_texts_of_one_caller_are_compared_by_latency() -> None:
    assert [load.is_latency for load in parse_loads("1x1,1x1-streamed,1x32,32x1")] == [True, True, False, False]


def test_the_estimate_counts_three_engines_and_grows_with_every_argument() -> None:
    one = estimate_s(1, 1, 1, 3.0)
    assert one > 3 * 3.0
    assert estimate_s(6, 2, 1, 3.0) == pytest.approx(12 * one)
    assert estimate_s(1, 1, 3, 3.0) > one


# ---- where a revision is kept ----


def test_every_commit_has_a_folder_and_the_working_tree_one_of_its_own() -> None:
    home = Path("/home")
    assert folder_of("main", COMMIT, home) == folder_of("31acd2e", COMMIT, home) == home / COMMIT[:10]
    assert folder_of(".", COMMIT, home) == home / "working-tree"


def test_a_revision_is_named_by_its_commit_and_a_working_tree_by_its_changes() -> None:
    assert tree("31acd2e").name == "31acd2e58b"
    assert tree("main").name == "main (31acd2e58b)"
    assert tree(".").name == "working tree (31acd2e58b)"
    assert tree(".", changed=True).name == "working tree (31acd2e58b with changes)"


def test_the_engine_is_the_program_in_the_revisions_own_environment() -> None:
    assert tree("main").engine == Path("place/.venv/bin/engine")


def test_requirements_are_equal_when_only_other_parts_of_the_project_file_differ(tmp_path: Path) -> None:
    found = []
    for name, version, package in (("a", "1", "numpy"), ("b", "2", "numpy"), ("c", "1", "scipy")):
        one = tree("main", tmp_path / name)
        one.source.mkdir(parents=True)
        text = f'[project]\nname = "x"\nversion = "{version}"\ndependencies = ["{package}"]\n'
        (one.source / "pyproject.toml").write_text(text)
        found.append(requirements(one))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [
        (tree("."), tree("."), True),
        (tree("."), tree(".", changed=True), False),
        (tree(".", changed=True), tree("."), False),
        (tree(".", changed=True), tree(".", changed=True), False),
    ],
)
def test_a_cache_is_reused_only_for_the_sources_that_filled_it(
    before: Tree, now: Tree, kept: bool, tmp_path: Path
) -> None:
    before, now = (tree(one.asked, tmp_path, changed=one.changed) for one in (before, now))
    delete_stale_caches(before)
    cache_of(before, tuned=False).mkdir()
    delete_stale_caches(now)
    assert cache_of(now, tuned=False).exists() is kept


# ---- how both serve ----


def test_a_plan_reaches_the_engine_as_flags_and_nothing_is_tuned() -> None:
    words = serve_flags(Cell("onnx", "int8"), Plan(2, 1, 512, 64), lifeline=True)
    pairs = dict(pairwise(words))
    assert words[0] == "serve"
    assert pairs["--port"] == "0"
    assert (pairs["--backend"], pairs["--precision"], pairs["--device"]) == ("onnx", "int8", "cpu")
    assert (pairs["--instances"], pairs["--threads"]) == ("2", "1")
    assert (pairs["--max-batch-tokens"], pairs["--max-batch-items"]) == ("512", "64")
    assert {"--strict", "--no-tune"} <= set(words)
    assert "--recipe" not in words


def test_without_a_plan_an_engine_uses_its_own() -> None:
    words = serve_flags(Cell("onnx", "int8", "dynamic"), None, lifeline=False)
    assert words[-2:] == ("--recipe", "dynamic")
    assert not {"--instances", "--threads", "--max-batch-tokens", "--max-batch-items", "--no-tune"} & set(words)


@pytest.mark.parametrize(("serve_help", "passed"), [("  --lifeline [none|stdin]", True), ("  --port N", False)])
def test_the_lifeline_is_asked_for_where_the_revision_knows_the_flag(serve_help: str, passed: bool) -> None:
    words = serve_flags(Cell("onnx", "int8"), None, lifeline=has_lifeline_flag(serve_help))
    assert ("--lifeline" in words) is passed


def test_engines_with_a_given_plan_never_read_a_cache_with_tuned_plans() -> None:
    assert cache_of(tree("main"), tuned=True) != cache_of(tree("main"), tuned=False)


def test_the_plan_is_read_from_what_engine_tune_prints() -> None:
    row = {"backend": "onnx", "instances": 2, "threads": 1, "max_batch_tokens": 512, "max_batch_items": 64, "more": 0}
    assert plan_in(json.dumps({"cores": 2, "plans": [row]})) == Plan(2, 1, 512, 64)


@pytest.mark.parametrize("said", ["", "no JSON", "[]", '{"plans": []}', '{"plans": [{"instances": 2}]}'])
def test_an_output_without_a_plan_is_refused_with_the_output(said: str) -> None:
    with pytest.raises(Failed, match="did not print a plan"):
        plan_in(said)


# ---- the verdict ----


def test_the_same_speed_and_memory_pass() -> None:
    passes, line = verdict_of(samples(times(1.0)), memory(times(1.0)))
    assert passes
    assert line == "verdict: passes"


def test_a_row_whose_whole_interval_lies_below_its_limit_fails_though_the_mean_does_not() -> None:
    turns = samples(times(0.9)) + samples(times(1.2), "1x32-short")
    passes, line = verdict_of(turns, memory(times(1.0)))
    assert not passes
    assert "onnx int8 32x4-short is slower" in line
    assert "1x32" not in line
    assert "geometric mean" not in line


def test_small_losses_everywhere_fail_by_the_mean_though_no_row_does() -> None:
    turns = samples(times(0.978)) + samples(times(0.978), "1x32-short")
    passes, line = verdict_of(turns, memory(times(1.0)))
    assert not passes
    assert "geometric mean of speed is 0.980" in line
    assert "slower" not in line


def test_growing_latency_and_growing_memory_are_losses() -> None:
    _, line = verdict_of(samples(times(0.9), "1x1-short"), memory(times(1.0)))
    assert "onnx int8 1x1-short is slower: 0.90" in line
    passes, line = verdict_of(samples(times(1.0)), memory(times(1.1)))
    assert not passes
    assert "onnx int8 memory is larger: 0.91" in line


def test_an_uncertain_loss_of_a_row_does_not_fail() -> None:
    assert report.regressions([("a", Ratio(0.95, 0.91, 0.99, 6))], [], Ratio(1.0, 0.99, 1.01, 6)) == []
    assert report.regressions([("a", Ratio(0.95, 0.94, 0.97, 6))], [], Ratio(1.0, 0.99, 1.01, 6)) == []


def test_a_single_round_is_checked_by_the_mean_alone_and_says_so() -> None:
    turns = [one for one in samples(times(0.9)) if one.round == 0]
    passes, line = verdict_of(turns, [one for one in memory(times(1.0)) if one.round == 0])
    assert not passes
    assert "slower" not in line
    assert "One round gives no intervals" in line


def test_a_base_that_fails_against_itself_is_reported_but_does_not_decide() -> None:
    passes, line = verdict_of(samples(times(1.0, of_control=0.9)), memory(times(1.0)))
    assert passes
    assert "the base compared with itself fails too" in line


# ---- the tables ----


def test_ratios_are_of_the_same_round_in_any_order_of_turns() -> None:
    (row,) = report.rows(samples(times(2.0))[::-1])
    assert row.ratio.value == pytest.approx(2.0, rel=0.01)
    assert row.ratio.rounds == ROUNDS
    assert row.control.value == pytest.approx(1.0, rel=0.01)
    assert row.texts_per_s[BASE] == 115.0


def test_the_mean_is_geometric_so_twice_and_half_as_fast_cancel() -> None:
    turns = samples(times(2.0)) + samples(times(0.5), "1x32-short")
    assert report.means(turns, memory(times(1.0))).speed.value == pytest.approx(1.0, rel=0.01)


def test_the_tables_show_p50_for_latency_rows_memory_and_the_control_of_each_ratio() -> None:
    turns = samples(times(0.5), "1x1-short") + samples(times(1.0))
    sizes = memory(times(2.0))
    text = report.markdown(report.rows(turns), report.memory_rows(sizes), report.means(turns, sizes))
    speed, resident = (
        [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
        for part in text.split("\n\n")[:2]
    )
    assert {len(cells) for cells in speed} == {8}
    assert {len(cells) for cells in resident} == {5}
    latency, rate = speed[2:]
    assert latency[4].strip() == "8.71"
    assert latency[6].strip().startswith("0.50 [")
    assert latency[7].strip().startswith("1.00 [")
    assert rate[4].strip() == "–"
    assert resident[2][3].strip().startswith("0.50 [")
    assert "geometric mean, speed: 0.709 [" in text
