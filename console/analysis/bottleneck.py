"""The bottleneck of a measured load, as one sentence: the slowest stage, the CPU, the padding."""

from dataclasses import dataclass

from console.model.load import Stages

CPU_BOUND_SHARE = 0.85
"""Share of the cores in use from which the load is CPU bound."""
MIN_COMPETING_CORES = 0.1
"""CPU use of the load generator below which its competition with the engine is not mentioned."""
MIN_PADDING_SHARE = 0.15
"""Share of padding from which it is mentioned."""
MIN_OUTSIDE_SHARE = 0.25
"""Share of the client's time outside the server's stages from which it is mentioned."""


@dataclass(frozen=True, slots=True)
class ObservedLoad:
    """Measurements of one load. Stages are means per request, ms; CPU is in cores; None: not known."""

    stages: Stages
    batch: int
    client_mean_ms: float | None = None
    engine_cpu_cores: float | None = None
    client_cpu_cores: float | None = None
    cores: int = 0
    padding_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The stage that limits a load: queue, tokenize, infer, serialize, or transport (between client and server)."""

    stage: str
    share: float
    """Share of the server's time; for transport, share of the client's time."""
    sentence: str


def find_bottleneck(observed: ObservedLoad) -> Bottleneck | None:
    """Returns the bottleneck, or None if no stage took any time.

    If queueing takes longest, the sentence also names the stage that requests wait for. The time of a stage is the
    maximum over a request's texts, so that stages of a large request may overlap; shares are of the sum of the stages.
    """
    stages = observed.stages
    work_ms = {"tokenize": stages.tokenize_ms, "infer": stages.infer_ms, "serialize": stages.serialize_ms}
    server_ms = sum(work_ms.values()) + stages.queue_ms
    if server_ms <= 0:
        return None
    busiest = max(work_ms, key=lambda name: work_ms[name])
    away_ms = max((observed.client_mean_ms or 0.0) - server_ms, 0.0)
    at = f"at batch {observed.batch}"
    if away_ms > server_ms:
        share = away_ms / (away_ms + server_ms)
        stage = "transport"
        sentence = (
            f"{share:.0%} of the client's time {at} is outside the server: gRPC, the network, or the client itself"
        )
    elif stages.queue_ms > work_ms[busiest]:
        share = stages.queue_ms / server_ms
        stage = "queue"
        of_work = work_ms[busiest] / max(server_ms - stages.queue_ms, 1e-9)
        sentence = f"queue is {share:.0%} of server time {at}: requests wait for {busiest}, {of_work:.0%} of the work"
    else:
        share = work_ms[busiest] / server_ms
        stage = busiest
        sentence = f"{busiest} is {share:.0%} of server time {at}"
    outside = 0.0 if stage == "transport" else away_ms / (away_ms + server_ms)
    return Bottleneck(stage, share, "; ".join([sentence, *_contributing_factors(observed, outside)]))


def _contributing_factors(observed: ObservedLoad, outside: float) -> list[str]:
    """`outside`: the share of the client's time outside the server's stages."""
    factors = []
    if outside >= MIN_OUTSIDE_SHARE and observed.client_mean_ms is not None:
        factors.append(f"{outside:.0%} of the client's {observed.client_mean_ms:.1f} ms is outside these stages")
    engine, client, cores = observed.engine_cpu_cores, observed.client_cpu_cores, observed.cores
    if engine is not None and cores:
        used = f"the engine uses {engine:.1f} of {cores} cores"
        both = engine + (client or 0.0)
        if engine < CPU_BOUND_SHARE * cores <= both and (client or 0.0) >= MIN_COMPETING_CORES:
            used += f" and the load generator {client:.1f}: they compete"
        factors.append(used)
    if observed.padding_ratio is not None and observed.padding_ratio >= MIN_PADDING_SHARE:
        factors.append(f"{observed.padding_ratio:.0%} of the tokens it runs are padding")
    return factors
