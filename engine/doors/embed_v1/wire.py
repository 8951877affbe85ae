"""Converts the engine's values to wire messages."""

import platform
import socket
from dataclasses import asdict

from engine import __version__
from engine.api import embed_pb2
from engine.capabilities.matrix import CapabilityCell
from engine.capabilities.resolve import Notice
from engine.deployment.live import LiveDeployment
from engine.deployment.target import Deployment, SwitchStep
from engine.doors.limits import EngineLimits
from engine.fidelity.metrics import Cosines, Fidelity
from engine.host.machine import WIRE_PACKAGES, PlatformFacts, governor, gpu_driver, installed, memory_bytes
from engine.pipeline.embedding import EmbeddingPipeline
from engine.scheduling import BatchPolicy
from engine.tuning.plan import ServingPlan


def deployment_message(deployment: Deployment) -> embed_pb2.Deployment:
    """The message of a deployment."""
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
    """The warnings of a deployment that differs from the requested one."""
    return [embed_pb2.Warning(code=item.code, message=item.message, fix=item.fix) for item in notices]


def switch_event(step: SwitchStep) -> embed_pb2.SwitchEvent:
    """The event of one step of a switch."""
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
    """The batching settings in effect."""
    return embed_pb2.BatchingConfig(
        max_batch_tokens=policy.max_batch_tokens,
        max_batch_items=policy.max_batch_items,
        max_wait_ms=policy.max_wait_s * 1e3,
        coalesce=policy.coalesce,
    )


def limits_message(limits: EngineLimits) -> embed_pb2.Limits:
    """The limits of requests, queue, messages, connections and batching options."""
    request, queue, wire, batching = limits.request, limits.queue, limits.wire, limits.batching
    return embed_pb2.Limits(
        max_texts_per_request=request.max_texts,
        max_text_bytes=request.max_text_bytes,
        max_request_bytes=request.max_request_bytes,
        max_queued_items=queue.max_queued_items,
        max_queued_bytes=queue.max_queued_bytes,
        max_queued_tokens=queue.max_queued_tokens,
        max_text_chars=request.max_text_chars,
        max_response_bytes=request.max_response_bytes,
        max_requests_in_flight=request.max_requests_in_flight,
        max_message_bytes=wire.max_message_bytes,
        max_decoded_bytes=wire.max_decoded_bytes,
        max_streams_per_connection=wire.max_streams_per_connection,
        max_batch_tokens=batching.max_batch_tokens,
        max_batch_items=batching.max_batch_items,
        max_wait_ms=batching.max_wait_s * 1e3,
    )


def serving_state(pipeline: EmbeddingPipeline) -> embed_pb2.ServingState.ValueType:
    """The first that applies: draining, unable to answer, switching, serving.

    DRAINING_TO_EXIT or NOT_SERVING exactly when grpc.health reports NOT_SERVING.
    """
    if pipeline.draining:
        return embed_pb2.DRAINING_TO_EXIT
    if pipeline.deployments.readiness.problem is not None:
        return embed_pb2.NOT_SERVING
    return embed_pb2.SWITCHING if pipeline.deployments.running_switch else embed_pb2.SERVING


def model_message(live: LiveDeployment) -> embed_pb2.ModelCard:
    """The model card, from the model's files."""
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
    message = embed_pb2.CapabilityCell(
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
    if measurement is not None and measurement.mean_cosine is not None:
        message.fidelity_texts = measurement.cosine_texts
        message.fidelity_method = embed_pb2.WHEN_LOADED if measurement.fidelity is None else embed_pb2.MEASURED
        message.fidelity_at_unix_s = measurement.fidelity_at_unix_s
    if measurement is not None and measurement.peak is not None:
        message.peak.CopyFrom(embed_pb2.PeakThroughput(**asdict(measurement.peak)))
    return message


def fidelity_event(fidelity: Fidelity, epoch: int) -> embed_pb2.FidelityEvent:
    """The last event of MeasureFidelity."""
    return embed_pb2.FidelityEvent(
        done=2 * fidelity.n,
        total=2 * fidelity.n,
        cosine=_cosines(fidelity.cosine),
        epoch=epoch,
        n=fidelity.n,
        overlap_at_1=fidelity.overlap_at_1,
        overlap_at_10=fidelity.overlap_at_10,
        spearman=fidelity.spearman,
        norm_error=fidelity.norm_error,
        batched=_cosines(fidelity.batched),
        noise_floor=_cosines(fidelity.noise_floor),
        grade=embed_pb2.FidelityGrade.Value(fidelity.grade.name),
    )


def _cosines(cosines: Cosines) -> embed_pb2.CosineSummary:
    return embed_pb2.CosineSummary(mean=cosines.mean, p1=cosines.p1, min=cosines.min)


def status_message(pipeline: EmbeddingPipeline, limits: EngineLimits, pid: int) -> embed_pb2.Status:
    """The status of the engine."""
    deployments = pipeline.deployments
    live = deployments.live
    return embed_pb2.Status(
        epoch=live.epoch,
        requested=deployment_message(live.plan.requested),
        effective=deployment_message(live.plan.effective),
        evidence=live.evidence,
        warnings=warning_messages(live.plan.notices),
        state=serving_state(pipeline),
        limits=limits_message(limits),
        batching=batching_message(deployments.batch_policy),
        model=model_message(live),
        pid=pid,
        uptime_s=pipeline.telemetry.uptime_s(),
        version=__version__,
        host_name=socket.gethostname(),
        cpu_model=deployments.facts.cpu_model,
        cores=deployments.facts.cores,
        machine=machine_message(deployments.facts),
        plan=plan_message(live.plan.serving),
    )


def plan_message(plan: ServingPlan) -> embed_pb2.ServingPlan:
    """The serving plan: the values of `auto`."""
    return embed_pb2.ServingPlan(
        instances=plan.instances,
        threads=plan.threads,
        max_batch_tokens=plan.max_batch_tokens,
        max_batch_items=plan.max_batch_items,
        pass_cost_tokens=plan.pass_cost_tokens,
        texts_per_s=plan.texts_per_s,
    )


def machine_message(facts: PlatformFacts) -> embed_pb2.Machine:
    """The properties of this machine on which measurements depend."""
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
