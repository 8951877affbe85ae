"""The fidelity before and after a switch, if the engine has measured both."""

from console.model.engine import CapabilityCell, CellState, Deployment
from console.session.switch_delta import SwitchTimes, fidelity_change

FP32 = Deployment("onnx", "fp32", "plain", "cpu", instances=2)
INT8 = Deployment("onnx", "int8", "dynamic", "cpu", instances=2)
TIMES = SwitchTimes(1, "", 20.0, 21.0, 21.5, steady_since_s=3.0, before=FP32, after=INT8)


def cell(of: Deployment, fidelity: float | None) -> CapabilityCell:
    return CapabilityCell(of.backend, of.precision, of.device, CellState.NATIVE, of.recipe, fidelity=fidelity)


def test_the_cosines_of_before_and_after_are_those_of_their_own_recipes() -> None:
    other = Deployment("onnx", "int8", "static", "cpu")
    change = fidelity_change(TIMES, [cell(other, 0.5), cell(FP32, 1.0), cell(INT8, 0.99)])
    assert change is not None
    assert (change.before, change.after) == (1.0, 0.99)


def test_there_is_no_change_while_one_of_them_is_not_known() -> None:
    assert fidelity_change(TIMES, [cell(FP32, 1.0), cell(INT8, None)]) is None
    assert fidelity_change(TIMES, [cell(INT8, 0.99)]) is None


def test_the_plain_recipe_needs_no_name() -> None:
    assert (FP32.cell, INT8.cell) == ("onnx·fp32", "onnx·int8·dynamic")
