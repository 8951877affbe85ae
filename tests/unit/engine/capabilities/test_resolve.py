"""The rule table: what runs, what runs instead, and that every fallback is reported."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from engine.backends import recipes
from engine.backends.base import Cell
from engine.backends.recipes import Recipe
from engine.capabilities import rules
from engine.capabilities.platform import named_platform
from engine.capabilities.resolve import BACKENDS, PRECISIONS, report_cell, report_cells, resolve
from engine.capabilities.rules import CellState
from engine.errors import CannotSwitch, InvalidRequest
from engine.host.machine import PLATFORM_NAMES, PlatformFacts

ROOT = Path(__file__).resolve().parents[4]
LINUX = PlatformFacts("linux-x86_64", "linux", "x86_64", packages={"torch": "2", "onnxruntime": "1"}, cores=2)
WITHOUT_TORCH = PlatformFacts("linux-x86_64", "linux", "x86_64", packages={"onnxruntime": "1"}, cores=2)
OLD_GPU = replace(named_platform("linux-cuda"), compute_capability=7.5)


def cell(words: str) -> Cell:
    """A cell from `backend precision device [recipe]`."""
    backend, precision, device, *recipe = words.split()
    return Cell(backend=backend, precision=precision, device=device, recipe="".join(recipe))


def recipe(cell: str, name: str, *, default: bool = True, needs: tuple[str, ...] = ()) -> Recipe:
    backend, precision, device = cell.split()
    return Recipe(backend, precision, name, default, device, False, needs, "")


@pytest.fixture
def everything_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives every cell a recipe, so that only the rules about machines decide."""
    built = [
        recipe(f"{backend} {precision} {device}", "plain")
        for backend, device in (
            ("torch", "cpu"), ("torch", "cuda"), ("torch", "mps"), ("onnx", "cpu"), ("openvino", "cpu")
        )
        for precision in PRECISIONS
        if (device, precision) not in {("mps", "int8"), ("mps", "int4"), ("mps", "bf16")}
    ]  # fmt: skip
    monkeypatch.setattr(recipes, "RECIPES", (*built, recipe("torch int8 cpu", "other", default=False, needs=("ao",))))


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_fp32_runs_as_asked_without_a_notice(backend: str) -> None:
    asked = Cell(backend=backend, precision="fp32", device="cpu", recipe="plain")
    assert resolve(replace(asked, recipe=""), LINUX, strict=True) == (asked, asked, ())


def test_auto_is_the_fastest_exact_cell_and_never_a_fallback() -> None:
    requested, effective, notices = resolve(cell("auto auto auto"), LINUX, strict=True)
    assert requested == effective == cell("onnx fp32 cpu plain")
    assert not notices


def test_auto_never_goes_below_fp32_for_any_backend() -> None:
    for backend in ("torch", "onnx"):
        assert resolve(Cell(backend=backend, precision="auto", device=""), LINUX, strict=True)[0].precision == "fp32"


def test_a_fallback_gives_one_notice_with_the_reason_of_the_rule() -> None:
    requested, effective, notices = resolve(cell("onnx bf16 cpu"), LINUX, strict=False)
    assert requested.precision == "bf16"
    assert effective == cell("onnx fp32 cpu plain")
    assert [notice.code for notice in notices] == ["unsupported_precision"]
    assert notices[0].message == report_cell(requested, LINUX).reason


def test_a_cell_without_a_recipe_is_reported_as_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", (recipe("onnx fp32 cpu", "plain"),))
    _, effective, notices = resolve(cell("onnx int8 cpu"), LINUX, strict=False)
    assert effective == cell("onnx fp32 cpu plain")
    assert [notice.code for notice in notices] == ["not_built"]


def test_strict_refuses_a_fallback_and_names_the_way_to_accept_it() -> None:
    with pytest.raises(CannotSwitch, match="drop it"):
        resolve(cell("onnx bf16 cpu"), LINUX, strict=True)


def test_a_missing_runtime_names_what_to_install() -> None:
    with pytest.raises(CannotSwitch, match=r"pip install 'embedconsole\[torch\]'"):
        resolve(cell("torch fp32 cpu"), WITHOUT_TORCH, strict=False)


@pytest.mark.parametrize(
    "asked", [cell("tensorflow auto auto"), cell("auto fp12 auto"), cell("auto auto tpu"), cell("auto auto cuda:x")]
)
def test_an_unknown_value_is_refused_with_the_known_ones(asked: Cell) -> None:
    with pytest.raises(InvalidRequest, match="choose one of auto"):
        resolve(asked, LINUX, strict=False)


def test_a_missing_device_is_refused() -> None:
    with pytest.raises(CannotSwitch, match="no device cuda:0"):
        resolve(cell("torch fp32 cuda"), LINUX, strict=False)


@pytest.mark.usefixtures("everything_built")
def test_an_unknown_recipe_is_refused_with_the_known_ones() -> None:
    facts = replace(LINUX, packages={**LINUX.packages, "ao": "1"})
    assert resolve(cell("torch int8 cpu other"), facts, strict=True)[1].recipe == "other"
    assert resolve(cell("torch int8 cpu"), facts, strict=True)[1].recipe == "plain"
    with pytest.raises(CannotSwitch, match="choose one of plain, other"):
        resolve(cell("torch int8 cpu magic"), facts, strict=False)


@pytest.mark.usefixtures("everything_built")
def test_a_named_recipe_without_its_package_is_refused_and_an_unnamed_one_is_replaced_by_a_usable_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(CannotSwitch, match="needs ao, which is not installed; pip install ao"):
        resolve(cell("torch int8 cpu other"), LINUX, strict=False)
    both = (recipe("torch int8 cpu", "best", needs=("ao",)), recipe("torch int8 cpu", "good", default=False))
    monkeypatch.setattr(recipes, "RECIPES", both)
    assert resolve(cell("torch int8 cpu"), LINUX, strict=True)[1].recipe == "good"


@pytest.mark.parametrize("name", PLATFORM_NAMES)
def test_every_cell_of_every_platform_has_a_state_and_a_reason(name: str) -> None:
    facts = named_platform(name)
    cells = list(report_cells(facts))
    assert {cell.asked.backend for cell in cells} == set(BACKENDS)
    for cell in cells:
        assert cell.state is CellState.NATIVE or cell.reason
        assert "{" not in cell.reason + cell.fix
        if cell.state is CellState.FALLS_BACK:
            assert report_cell(cell.effective, facts).runs_as_asked
            assert cell.effective.precision in cell.reason, "the sentence names what runs instead"


@pytest.mark.usefixtures("everything_built")
@pytest.mark.parametrize(
    ("facts", "asked", "state", "effective", "sentence"),
    [
        (
            named_platform("macos-arm64"), "torch int8 mps", "falls_back", "torch fp16 mps",
            "int8 is not supported on MPS: fell back to fp16",
        ),
        (named_platform("macos-arm64"), "torch int8 cpu", "native", "torch int8 cpu", ""),
        (named_platform("macos-arm64"), "openvino fp32 mps", "unavailable", "openvino fp32 mps", "does not run on mps"),
        (named_platform("macos-x86_64"), "torch fp32 cpu", "unavailable", "torch fp32 cpu", "Intel Macs"),
        (named_platform("linux-arm64"), "torch int8 cpu", "native", "torch int8 cpu", ""),
        (
            replace(named_platform("linux-arm64"), isa=frozenset({"neon"})), "torch int8 cpu", "slow", "torch int8 cpu",
            "QNNPACK",
        ),
        (named_platform("linux-x86_64"), "torch bf16 cpu", "native", "torch bf16 cpu", ""),
        (LINUX, "torch bf16 cpu", "slow", "torch bf16 cpu", "no bf16 instructions"),
        (named_platform("linux-x86_64"), "torch fp16 cpu", "slow", "torch fp16 cpu", "no fp16 arithmetic"),
        (LINUX, "torch tf32 cpu", "falls_back", "torch fp32 cpu", "only on CUDA GPUs"),
        (named_platform("linux-cuda"), "torch fp8 cuda:0", "native", "torch fp8 cuda:0", ""),
        (OLD_GPU, "torch fp8 cuda:0", "falls_back", "torch fp16 cuda:0", "compute capability 8.9"),
        (OLD_GPU, "torch tf32 cuda:0", "falls_back", "torch fp32 cuda:0", "compute capability 8.0"),
        (OLD_GPU, "torch bf16 cuda:0", "falls_back", "torch fp16 cuda:0", "compute capability 8.0"),
        (named_platform("linux-cuda"), "openvino int8 cuda:0", "unavailable", "openvino int8 cuda:0", "does not run"),
        (named_platform("linux-cuda"), "onnx int8 cuda:0", "falls_back", "torch int8 cuda:0", "not built"),
        (
            replace(named_platform("linux-cuda"), packages={"torch": "2.13.0+cpu"}), "torch fp16 cuda:0", "unavailable",
            "torch fp16 cuda:0", "built for the CPU only",
        ),
    ],
)  # fmt: skip
def test_other_platforms_are_reported_without_their_hardware(
    facts: PlatformFacts, asked: str, state: str, effective: str, sentence: str
) -> None:
    report = report_cell(cell(asked), facts)
    assert report.state.value == state
    assert [report.effective.backend, report.effective.precision, report.effective.device] == effective.split()
    assert sentence in report.reason


@pytest.mark.parametrize(
    ("facts", "asked", "sentence"),
    [
        (named_platform("linux-x86_64"), "openvino int8 cpu", ""),
        (replace(named_platform("linux-x86_64"), isa=frozenset({"avx2"})), "openvino int8 cpu", "no VNNI"),
        (replace(named_platform("linux-x86_64"), isa=frozenset({"avx2"})), "onnx int8 cpu", ""),
        (named_platform("linux-cuda"), "torch fp16 cuda:0", ""),
        (named_platform("linux-cuda"), "torch int8 cuda:0", "several times slower than fp16"),
        (named_platform("linux-cuda"), "torch int4 cuda:0", "saves memory"),
    ],
)
def test_a_cell_that_is_slower_than_a_wider_precision_is_reported_as_slow(
    facts: PlatformFacts, asked: str, sentence: str
) -> None:
    report = report_cell(cell(asked), facts)
    assert report.state is (CellState.SLOW if sentence else CellState.NATIVE)
    assert sentence in report.reason


def test_the_last_rule_matches_everything() -> None:
    assert rules.RULES[-1] == rules.Rule("* * *", CellState.NATIVE)


def test_each_package_that_a_recipe_needs_is_in_the_extra_that_its_fix_names() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for one in recipes.RECIPES:
        for package in one.needs:
            named = {line.partition(">")[0].partition("=")[0] for line in extras[rules.EXTRAS[package]]}
            assert package in named, f"{rules.requirement(package)} does not install {package}"
