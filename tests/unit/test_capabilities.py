"""The rule table: what runs, what is used instead, and that nothing falls back silently."""

import pytest

from engine.capabilities import BACKENDS, CellState, Choice, matrix, report_cell, resolve
from engine.errors import CannotSwitch, InvalidRequest
from engine.machine import PLATFORM_NAMES, PlatformFacts, named_platform

LINUX = PlatformFacts("linux-x86_64", "linux", "x86_64", packages={"torch": "2", "onnxruntime": "1"}, cores=2)
WITHOUT_TORCH = PlatformFacts("linux-x86_64", "linux", "x86_64", packages={"onnxruntime": "1"}, cores=2)


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_fp32_runs_as_asked_without_a_word(backend: str) -> None:
    asked = Choice(backend, "fp32", "cpu")
    assert resolve(asked, LINUX, strict=True) == (asked, asked, ())


def test_auto_is_the_fastest_exact_cell_and_never_a_fallback() -> None:
    requested, effective, notices = resolve(Choice("auto", "auto", "auto"), LINUX, strict=True)
    assert requested == effective == Choice("onnx", "fp32", "cpu")
    assert not notices


def test_auto_never_goes_below_fp32_for_any_backend() -> None:
    for backend in ("torch", "onnx"):
        assert resolve(Choice(backend, "auto", ""), LINUX, strict=True)[0].precision == "fp32"


def test_a_cell_that_falls_back_says_so_in_one_sentence() -> None:
    requested, effective, notices = resolve(Choice("onnx", "int8", "cpu"), LINUX, strict=False)
    assert requested.precision == "int8"
    assert effective == Choice("onnx", "fp32", "cpu")
    assert [notice.code for notice in notices] == ["not_built"]
    assert notices[0].message == report_cell(requested, LINUX).reason


def test_strict_refuses_a_fallback_and_says_how_to_accept_it() -> None:
    with pytest.raises(CannotSwitch, match="without it"):
        resolve(Choice("onnx", "int8", "cpu"), LINUX, strict=True)


def test_a_missing_runtime_names_what_to_install() -> None:
    with pytest.raises(CannotSwitch, match=r"pip install 'embedconsole\[torch\]'"):
        resolve(Choice("torch", "fp32", "cpu"), WITHOUT_TORCH, strict=False)


@pytest.mark.parametrize(
    "choice", [Choice("tensorflow", "", ""), Choice("", "fp12", ""), Choice("", "", "tpu"), Choice("", "", "cuda:x")]
)
def test_a_word_that_does_not_exist_is_refused_with_those_that_do(choice: Choice) -> None:
    with pytest.raises(InvalidRequest, match="choose one of auto"):
        resolve(choice, LINUX, strict=False)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(CannotSwitch, match="no device cuda:0"):
        resolve(Choice("torch", "fp32", "cuda"), LINUX, strict=False)


@pytest.mark.parametrize("name", PLATFORM_NAMES)
def test_every_cell_of_every_platform_is_decided_with_its_reason(name: str) -> None:
    facts = named_platform(name)
    cells = list(matrix(facts))
    assert {cell.asked.backend for cell in cells} == set(BACKENDS)
    for cell in cells:
        assert cell.code != "unknown_cell"
        assert cell.state is CellState.NATIVE or cell.reason
        if cell.state is CellState.FALLS_BACK:
            assert report_cell(cell.effective, facts).state in (CellState.NATIVE, CellState.SLOW)
