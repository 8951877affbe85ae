"""Loading a planned deployment and verifying it against the fp32 reference vectors."""

from collections.abc import Sequence
from dataclasses import replace

from engine.backends import LoadedModel
from engine.capabilities.resolve import Notice
from engine.deployment.target import Deployment, Plan
from engine.errors import CannotSwitch
from engine.host.machine import core_of_each

MINIMUM_COSINE = {
    "fp32": 0.9999, "tf32": 0.999, "bf16": 0.999, "fp16": 0.999, "int8": 0.95, "fp8": 0.95, "int4": 0.85,
}  # fmt: skip
"""Mean cosine to the fp32 reference vectors below which a deployment is never served, by effective precision."""


def _cell(deployment: Deployment) -> str:
    """`openvino int8 static-nncf`; the plain way needs no name."""
    recipe = deployment.recipe if deployment.recipe != "plain" else ""
    return " ".join(filter(None, (deployment.backend, deployment.precision, recipe)))


def _core_of_each(target: Deployment, model: LoadedModel) -> Sequence[int | None]:
    """The core that each instance keeps to; None for any, as where the runtime or a device does the work elsewhere."""
    if target.device == "cpu" and target.threads == 1 and model.computes_in_caller:
        return core_of_each(target.instances)
    return [None] * target.instances


def _as_it_runs(plan: Plan, model: LoadedModel) -> Plan:
    """The plan with a notice where the runtime compiled another precision than it was told to.

    Raises CannotSwitch when strict was asked.
    """
    target = plan.effective
    if model.precision == target.precision:
        return plan
    sentence = f"{target.backend} runs this in {model.precision}, not in {target.precision} ({model.evidence})"
    if plan.strict:
        raise CannotSwitch(f"{sentence}; strict was asked, so nothing was changed: ask without it to accept")
    fix = "choose another backend or precision"
    return replace(plan, notices=(*plan.notices, Notice("ran_otherwise", sentence, fix)))
