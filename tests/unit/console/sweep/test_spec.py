"""A specification becomes points, or an error that points at the line and the key."""

from itertools import pairwise
from pathlib import Path

import pytest

from console.cli.sweep import PRESETS as OFFERED
from console.model.engine import Deployment
from console.sweep.point import SweepPoint, expected_s, in_order
from console.sweep.spec import PRESETS, SpecError, SweepSpec, parse_spec, preset, read_spec


def parsed(text: str) -> SweepSpec:
    return parse_spec(text, "spec.toml", "spec")


def test_axes_multiply_and_settings_hold_for_every_cell() -> None:
    spec = parsed("""
        name = "mine"
        repeats = 2
        duration = "4s"
        warm_up = 0.5
        slo_p95_ms = 40
        [grid]
        backends = ["onnx", "torch"]
        precisions = "fp32"
        instances = ["auto", 2]
        batch = [1, 8, 32]
        coalescing = [true, false]
        max_wait_ms = 2
    """)
    assert spec.name == "mine"
    assert len(spec.points) == 2 * 2 * 2 * 3 * 2
    assert len({point.hash for point in spec.points}) == len(spec.points)
    assert {point.target.instances for point in spec.points} == {0, 2}
    assert {point.coalesce for point in spec.points} == {True, False}
    for point in spec.points:
        assert (point.run.duration_s, point.run.warm_up_s, point.run.slo_p95_ms) == (4.0, 0.5, 40.0)
        assert point.max_wait_ms == 2.0
        assert point.run.load.concurrency == 4


def test_several_grids_are_joined_and_what_they_share_is_measured_once() -> None:
    spec = parsed("[[grid]]\nbatch = [1, 2]\n[[grid]]\nbatch = [2, 4]\n")
    assert [point.run.load.batch for point in spec.points] == [1, 2, 4]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[grid]\nbatch = 0\n", "spec.toml, line 2, grid.batch: 0: write a whole number from 1 to 100,000"),
        ("[grid]\n\nbatch = [1,\n true]\n", "line 3, grid.batch: True: write a whole number"),
        ('[grid]\nprecisions = ["int3"]\n', "line 2, grid.precisions: 'int3': choose among fp32, "),
        ('[grid]\nprecision = ["int8"]\n', "line 2, grid.precision: no such axis: did you mean precisions?"),
        ('duration = "soon"\n[grid]\n', "line 1, duration: 'soon': write a time from 1s to 2h"),
        ("duraton = 3\n[grid]\n", "line 1, duraton: no such setting: did you mean duration?"),
        ("\nbatch = 3\n[grid]\n", "line 2, batch: no such setting; axes belong below [grid]"),
        ("[[grid]]\nbatch = 1\n[[grid]]\nbatch = []\n", "line 4, grid.batch: an empty list"),
        ("[grid]\ninstances = -1\n", 'line 2, grid.instances: -1: write "auto" or a whole number from 1 to 64'),
        ("[grid]\ncoalescing = 1\n", "line 2, grid.coalescing: 1: write true or false"),
        ('[grid]\ncorpus = "nowhere.txt"\n', "line 2, grid.corpus: 'nowhere.txt': no corpus 'nowhere.txt'"),
        ('\n[grid]\nworkload = "pairs"\nstream = true\n', "line 2, grid: pairs cannot be streamed"),
        ("[grid]\nmax_wait_ms = 2000\n", "line 2, grid.max_wait_ms: 2000: write a number from 0 to 1,000"),
        ("name = 3\n[grid]\n", "line 1, name: 3: write a text in quotes"),
        (f"repeats = 100\n[grid]\nbatch = {list(range(1, 102))}\n", "10,100 cells, at most"),
        ("batch = [1]\n", "it has no [grid]"),
        ("[grid\n", "not TOML: "),
        ("[grid]\nbatch = 1\nbatch = 2\n", "line 3, batch: not TOML: a key or table is defined twice"),
        ("[grid]\nbatch = 1x\n", "line 2, batch: not TOML: "),
        ("grid.batch = [0]\n", "line 1, grid.batch: 0: write a whole number"),
        ("\ngrid = { concurrency = 4, batch = 0 }\n", "line 2, grid.batch: 0: write a whole number"),
        ("[grid]\n[grid.batch]\nx = 1\n", "line 2, grid.batch: "),
        ("name = 'x'\n[grids]\nbatch = 1\n", "line 2, grids: no such table: did you mean [grid]?"),
        ("slo_p95_ms = 0\n[grid]\n", "line 1, slo_p95_ms: 0: write a number from 0.001 to 3,600,000"),
    ],
)  # fmt: skip
def test_an_error_names_the_line_the_key_and_what_would_do(text: str, expected: str) -> None:
    with pytest.raises(SpecError) as error:
        parsed(text)
    assert expected in str(error.value)


def test_a_missing_file_points_at_the_presets(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--preset has quick, seed"):
        read_spec(tmp_path / "none.toml")


def test_a_spec_is_named_after_its_file_unless_it_names_itself(tmp_path: Path) -> None:
    (tmp_path / "night.toml").write_text("[grid]\n")
    assert read_spec(tmp_path / "night.toml").name == "night"


class TestHash:
    def test_it_is_of_the_content_so_that_a_resumed_sweep_knows_its_cells(self) -> None:
        (one,) = parsed("[grid]\nbatch = 8\n").points
        assert one.hash == parsed("name = 'other'\n[grid]\nbatch = [8]\nworkload = 'texts'\n").points[0].hash
        others = ("[grid]\nbatch = 9", "duration = 5\n[grid]\nbatch = 8", "[grid]\nbatch = 8\ncoalescing = true")
        assert one.hash not in {parsed(text).points[0].hash for text in others}

    def test_a_corpus_with_other_texts_is_another_cell(self, tmp_path: Path) -> None:
        text = f"[grid]\ncorpus = '{tmp_path}/texts.txt'\n"
        (tmp_path / "texts.txt").write_text("one\ntwo\n")
        before = parsed(text).points[0].hash
        (tmp_path / "texts.txt").write_text("one\ntwo\nthree\n")
        assert parsed(text).points[0].hash != before


class TestOrder:
    SPEC = "[grid]\nbackends = ['onnx', 'torch']\nprecisions = ['fp32', 'int8']\nbatch = [1, 2, 4, 8]\n"

    def test_cells_of_one_deployment_stay_together_and_the_rest_is_by_chance(self) -> None:
        points = parsed(self.SPEC).points
        ordered = in_order(points, 1)
        assert set(ordered) == set(points)
        assert _changes(ordered) == 4
        assert ordered == in_order(points, 1)
        assert len({in_order(points, seed) for seed in range(5)}) == 5
        batches = [point.run.load.batch for point in ordered]
        assert batches != sorted(batches[:4]) * 4

    def test_every_repeat_is_a_pass_of_its_own(self) -> None:
        ordered = in_order(parsed("repeats = 3\n" + self.SPEC).points, 1)
        assert [point.repeat for point in ordered] == [0] * 16 + [1] * 16 + [2] * 16

    def test_the_estimate_counts_loads_and_switches(self) -> None:
        points = in_order(parsed("duration = 8\nwarm_up = 1\n" + self.SPEC).points, 1)
        assert expected_s(points, None, overhead_s=1.0, switch_s=5.0) == 16 * 10 + 4 * 5
        assert expected_s(points, points[0].target, overhead_s=1.0, switch_s=5.0) == 16 * 10 + 3 * 5
        assert expected_s((), Deployment()) == 0


def _changes(points: tuple[SweepPoint, ...]) -> int:
    return 1 + sum(one.target != next_one.target for one, next_one in pairwise(points))


class TestPresets:
    def test_those_offered_are_those_there_are(self) -> None:
        assert OFFERED == PRESETS
        for name in PRESETS:
            assert preset(name).name == name

    def test_quick_takes_about_a_minute(self) -> None:
        points = in_order(preset("quick").points, 1)
        assert 40 <= expected_s(points, None) <= 90

    def test_seed_is_the_classic_table_and_coalescing_off_against_on(self) -> None:
        points = preset("seed").points
        table = {
            (point.target.backend, point.target.precision, point.run.load.batch, point.run.load.concurrency)
            for point in points
            if point.coalesce is None
        }
        assert table == {
            (*deployment, batch, concurrency)
            for deployment in (("torch", "fp32"), ("torch", "fp16"), ("torch", "int8"), ("onnx", "fp32"))
            for batch in (1, 4, 8, 16, 32)
            for concurrency in (1, 4, 8)
        }
        coalescing = {(point.coalesce, point.run.load.concurrency) for point in points if point.coalesce is not None}
        assert coalescing == {(on, concurrency) for on in (False, True) for concurrency in (1, 2, 4, 8, 16, 32)}
