"""What a switch did to the vectors stands beside what it did to the speed, where the engine knows both."""

from console.model.engine import CapabilityCell, CellState, Deployment
from console.session.switch_delta import SwitchTimes, fidelity_change

FP32 = Deployment("onnx", "fp32", "plain", "cpu", instances=2)
INT8 = Deployment("onnx", "int8", "dynamic", "cpu", instances=2)
SPAN = SwitchTimes(1, "", 20.0, 21.0, 21.5, steady_since_s=3.0, before=FP32, after=INT8)


def cell(of: Deployment, fidelity: float | None) -> CapabilityCell:
    return CapabilityCell(of.backend, of.precision, of.device, CellState.NATIVE, of.recipe, fidelity=fidelity)


def test_the_cosines_of_before_and_after_are_those_of_their_own_recipes() -> None:
    other = Deployment("onnx", "int8", "static", "cpu")
    change = fidelity_change(SPAN, [cell(other, 0.5), cell(FP32, 1.0), cell(INT8, 0.99)])
    assert change is not None
    assert (change.before, change.after) == (1.0, 0.99)


def test_nothing_is_said_while_one_of_them_is_not_known() -> None:
    assert fidelity_change(SPAN, [cell(FP32, 1.0), cell(INT8, None)]) is None
    assert fidelity_change(SPAN, [cell(INT8, 0.99)]) is None


def test_the_plain_recipe_needs_no_name() -> None:
    assert (FP32.cell, INT8.cell) == ("onnx·fp32", "onnx·int8·dynamic")
