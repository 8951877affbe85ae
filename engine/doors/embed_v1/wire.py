"""The engine's own values as wire messages."""

import platform
import socket

from engine import __version__
from engine.api import embed_pb2
from engine.capabilities.matrix import CapabilityCell
from engine.capabilities.resolve import Notice
from engine.deployment.live import LiveDeployment
from engine.deployment.target import Deployment, SwitchStep
from engine.fidelity.metrics import Cosines, Fidelity
from engine.host.machine import WIRE_PACKAGES, PlatformFacts, governor, gpu_driver, installed, memory_bytes
from engine.pipeline.embedding import RequestLimits, Serving
from engine.scheduling import AdmissionLimits, BatchPolicy
from engine.tuning.plan import ServingPlan


def deployment_message(deployment: Deployment) -> embed_pb2.Deployment:
    """A deployment, field by field."""
    return embed_pb2.Deployment(
        backend=deployment.backend,
        precision=deployment.precision,
        recipe=deployment.recipe,
        device=deployment.device,
        model=deployment.model,
        instances=deployment.instances,
        threads=deployment.threads,
    )


def warning_messages(notices: tuple[Notice, ...]) -> list[embed_pb2.Warning]:
    """What was done otherwise than asked."""
    return [embed_pb2.Warning(code=item.code, message=item.message, fix=item.fix) for item in notices]


def switch_event(step: SwitchStep) -> embed_pb2.SwitchEvent:
    """One step of a switch."""
    return embed_pb2.SwitchEvent(
        state=embed_pb2.SwitchState.ValueType(step.state),
        progress=step.progress,
        message=step.message,
        requested=deployment_message(step.plan.requested),
        effective=deployment_message(step.plan.effective),
        warnings=warning_messages(step.plan.notices),
        epoch=step.epoch,
        elapsed_s=step.elapsed_s,
    )


def batching_message(policy: BatchPolicy) -> embed_pb2.BatchingConfig:
    """The batching options in force."""
    return embed_pb2.BatchingConfig(
        max_batch_tokens=policy.max_batch_tokens,
        max_batch_items=policy.max_batch_items,
        max_wait_ms=policy.max_wait_s * 1e3,
        coalesce=policy.coalesce,
    )


def limits_message(limits: RequestLimits, admission: AdmissionLimits) -> embed_pb2.Limits:
    """What a client may send, and how much may wait."""
    return embed_pb2.Limits(
        max_texts_per_request=limits.max_texts,
        max_text_bytes=limits.max_text_bytes,
        max_request_bytes=limits.max_request_bytes,
        max_queued_items=admission.max_queued_items,
        max_queued_bytes=admission.max_queued_bytes,
    )


def serving_state(serving: Serving) -> embed_pb2.ServingState.ValueType:
    """On the way out, unable to answer, serving while a switch is under way, or serving: the first that is so.

    NOT_SERVING or DRAINING_TO_EXIT exactly where grpc.health says NOT_SERVING.
    """
    if serving.draining:
        return embed_pb2.DRAINING_TO_EXIT
    if serving.deployments.readiness.problem is not None:
        return embed_pb2.NOT_SERVING
    return embed_pb2.SWITCHING if serving.deployments.running_switch else embed_pb2.SERVING


def model_message(live: LiveDeployment) -> embed_pb2.ModelCard:
    """What the model's own files say."""
    card = live.model_card
    return embed_pb2.ModelCard(
        id=card.id,
        dim=card.dim,
        max_tokens=card.max_tokens,
        pooling=card.pooling,
        normalize=card.normalize,
        prompt_names=sorted(card.prompts),
        weights_sha256=card.weights_sha256,
        fingerprint=live.fingerprint,
    )


def cell_message(cell: CapabilityCell) -> embed_pb2.CapabilityCell:
    """One cell of the capability matrix."""
    report, measurement = cell.report, cell.measurement
    asked, effective = report.asked, report.effective
    return embed_pb2.CapabilityCell(
        backend=asked.backend,
        precision=asked.precision,
        device=asked.device,
        recipe=asked.recipe,
        state=embed_pb2.CellState.Value(report.state.name),
        effective=embed_pb2.Deployment(
            backend=effective.backend, precision=effective.precision, device=effective.device, recipe=effective.recipe
        ),
        reason=report.reason,
        fix=report.fix,
        probe=embed_pb2.ProbeResult.Value(cell.probe.result.name),
        texts_per_s=measurement.texts_per_s if measurement else None,
        fidelity=measurement.mean_cosine if measurement else None,
        code=report.code,
    )


def fidelity_event(found: Fidelity, epoch: int) -> embed_pb2.FidelityEvent:
    """The last event of MeasureFidelity."""
    return embed_pb2.FidelityEvent(
        done=2 * found.n,
        total=2 * found.n,
        cosine=_cosines(found.cosine),
        epoch=epoch,
        n=found.n,
        overlap_at_1=found.overlap_at_1,
        overlap_at_10=found.overlap_at_10,
        spearman=found.spearman,
        norm_error=found.norm_error,
        batched=_cosines(found.batched),
        noise_floor=_cosines(found.noise_floor),
        grade=embed_pb2.FidelityGrade.Value(found.grade.name),
    )


def _cosines(found: Cosines) -> embed_pb2.CosineSummary:
    return embed_pb2.CosineSummary(mean=found.mean, p1=found.p1, min=found.min)


def status_message(serving: Serving, admission: AdmissionLimits, pid: int) -> embed_pb2.Status:
    """Everything a new client needs to know."""
    deployments = serving.deployments
    live = deployments.live
    return embed_pb2.Status(
        epoch=live.epoch,
        requested=deployment_message(live.plan.requested),
        effective=deployment_message(live.plan.effective),
        evidence=live.evidence,
        warnings=warning_messages(live.plan.notices),
        state=serving_state(serving),
        limits=limits_message(serving.limits, admission),
        batching=batching_message(deployments.batch_policy),
        model=model_message(live),
        pid=pid,
        uptime_s=serving.telemetry.uptime_s(),
        version=__version__,
        host_name=socket.gethostname(),
        cpu_model=deployments.facts.cpu_model,
        cores=deployments.facts.cores,
        machine=machine_message(deployments.facts),
        plan=plan_message(live.plan.serving),
    )


def plan_message(plan: ServingPlan) -> embed_pb2.ServingPlan:
    """What `auto` stands for."""
    return embed_pb2.ServingPlan(
        instances=plan.instances,
        threads=plan.threads,
        max_batch_tokens=plan.max_batch_tokens,
        max_batch_items=plan.max_batch_items,
        pass_cost_tokens=plan.pass_cost_tokens,
        texts_per_s=plan.texts_per_s,
    )


def machine_message(facts: PlatformFacts) -> embed_pb2.Machine:
    """What a measurement here depends on."""
    return embed_pb2.Machine(
        platform=facts.name,
        system=platform.platform(),
        isa=sorted(facts.isa),
        memory_bytes=memory_bytes(),
        governor=governor(),
        gpu_model=facts.gpu_model,
        gpu_driver=gpu_driver() if facts.gpu_model else "",
        python=platform.python_version(),
        packages={**installed(WIRE_PACKAGES), **facts.packages},
    )
