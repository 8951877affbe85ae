"""What limits a measured load, as one sentence: the stage that takes most, the cores, the padding."""

from dataclasses import dataclass

from console.model.load import Stages

BUSY_SHARE = 0.85
"""Of the cores: from here on they are what there is not enough of."""
COMPETING_CORES = 0.1
"""Below that the load driver takes nothing worth telling from the engine."""
PADDING_WORTH_TELLING = 0.15
OUTSIDE_WORTH_TELLING = 0.25
"""Of the time that the client sees, when it is not the larger part anyhow."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known of one load. Stages are means of a request, ms; CPU is in cores; None: not known."""

    stages: Stages
    batch: int
    client_mean_ms: float | None = None
    engine_cpu_cores: float | None = None
    client_cpu_cores: float | None = None
    cores: int = 0
    padding_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """`stage` is queue, tokenize, infer, serialize, or transport (between client and server)."""

    stage: str
    share: float
    """Of server time; for transport, of the time that the client saw."""
    sentence: str


def name_bottleneck(observed: Observed) -> Bottleneck | None:
    """None where no stage took any time.

    Where requests wait longer than anything else takes, the wait has a cause: the sentence names the stage that they
    wait for. A stage is the longest of a request's texts, so that stages of a large request may overlap; their shares
    are of their own sum.
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
        says = f"{share:.0%} of the client's time {at} is outside the server: gRPC, the network, or the client itself"
    elif stages.queue_ms > work_ms[busiest]:
        share = stages.queue_ms / server_ms
        stage = "queue"
        of_work = work_ms[busiest] / max(server_ms - stages.queue_ms, 1e-9)
        says = f"queue is {share:.0%} of server time {at}: requests wait for {busiest}, {of_work:.0%} of the work"
    else:
        share = work_ms[busiest] / server_ms
        stage = busiest
        says = f"{busiest} is {share:.0%} of server time {at}"
    outside = 0.0 if stage == "transport" else away_ms / (away_ms + server_ms)
    return Bottleneck(stage, share, "; ".join([says, *_circumstances(observed, outside)]))


def _circumstances(observed: Observed, outside: float) -> list[str]:
    """`outside`: the share of the client's time that no stage explains."""
    said = []
    if outside >= OUTSIDE_WORTH_TELLING and observed.client_mean_ms is not None:
        said.append(f"{outside:.0%} of the client's {observed.client_mean_ms:.1f} ms passes outside these stages")
    engine, client, cores = observed.engine_cpu_cores, observed.client_cpu_cores, observed.cores
    if engine is not None and cores:
        used = f"the engine uses {engine:.1f} of {cores} cores"
        both = engine + (client or 0.0)
        if engine < BUSY_SHARE * cores <= both and (client or 0.0) >= COMPETING_CORES:
            used += f" and the load driver {client:.1f}: they compete"
        said.append(used)
    if observed.padding_ratio is not None and observed.padding_ratio >= PADDING_WORTH_TELLING:
        said.append(f"{observed.padding_ratio:.0%} of the tokens it runs are padding")
    return said
