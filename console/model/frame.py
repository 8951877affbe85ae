"""What the screens draw: one immutable snapshot of the session, and the words it is made of.

Times named `*_s` without further words are seconds on the session's monotonic clock, starting at 0 with the session.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from console.engine_facts import Batching, Machine, ModelCard, ServingPlan
from console.standing import Experiments, Replaying

PLAIN = "plain"
"""The recipe that changes nothing."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """backend + precision + recipe + device + instances + threads + model. Empty or 0: not known yet."""

    backend: str = ""
    precision: str = ""
    recipe: str = ""
    device: str = ""
    model: str = ""
    instances: int = 0
    threads: int = 0

    @property
    def cell(self) -> str:
        """`onnx·int8·dynamic`; the plain way, as fp32 has it, needs no name."""
        recipe = self.recipe if self.recipe != PLAIN else ""
        return "·".join(part for part in (self.backend, self.precision, recipe) if part)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the engine did otherwise than asked, in the sentence its rule table wrote."""

    code: str
    message: str
    fix: str = ""


class EngineState(StrEnum):
    """What the session knows of the engine process."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    SWITCHING = "switching"
    DRAINING = "draining"
    LOST = "lost"
    """It ended, or stopped answering, without being asked."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A step of start-up or of a switch. `total` 0: no count is known."""

    name: str
    message: str = ""
    done: int = 0
    total: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine as last heard of."""

    state: EngineState = EngineState.STOPPED
    address: str = ""
    pid: int = 0
    remote: bool = False
    """Connected to, not started by this console: it cannot be stopped or restarted from here."""
    uptime_s: float = 0.0
    phase: Phase | None = None
    """While STARTING or SWITCHING: what it is doing now."""
    message: str = ""
    """One sentence on how it got here when LOST or when a start failed, with the next step."""
    requested: Deployment = field(default_factory=Deployment)
    effective: Deployment = field(default_factory=Deployment)
    evidence: str = ""
    warnings: tuple[Notice, ...] = ()
    epoch: int = 0
    model: ModelCard = field(default_factory=ModelCard)
    batching: Batching = field(default_factory=Batching)
    plan: ServingPlan = field(default_factory=ServingPlan)
    cores: int = 0
    cpu_model: str = ""
    machine: Machine = field(default_factory=Machine)
    rss_bytes: int = 0
    cpu_cores: float = 0.0
    """CPU use over the last interval: 1.0 is one core busy."""
    queued_items: int = 0
    queued_tokens: int = 0
    in_flight_requests: int = 0
    oldest_in_flight_s: float = 0.0
    idle_instances: int = 0
    last_frame_age_s: float = 0.0
    """How long the engine has said nothing."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """How to start an engine: `engine serve`'s flags. Empty or 0 means `auto`."""

    model: str = ""
    backend: str = ""
    precision: str = ""
    recipe: str = ""
    device: str = ""
    instances: int = 0
    threads: int = 0
    strict: bool = False
    coalesce: bool = True
    port: int = 0
    max_batch_tokens: int = 0
    max_batch_items: int = 0
    max_wait_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """What the load driver sends, requests of `batch` texts.

    Closed loop: `concurrency` callers, each with one request in flight. Open loop, where `rate` is given: so many
    requests a second, scheduled ahead, however long the answers take; `concurrency` plays no part.
    """

    batch: int = 32
    concurrency: int = 4
    workload: str = "texts"
    """`texts`, or `pairs`: `batch` pairs a request, scored by Similarity."""
    corpus: str = "short"
    """A generated corpus (short, mixed, long) or a file's path."""
    stream: bool = False
    seed: int = 0
    """Of generated corpora and of arrivals."""
    rate: float = 0.0
    """Requests a second of an open loop; 0: a closed loop."""
    arrival: str = "poisson"
    """`poisson` or `constant`: the gaps of an open loop."""
    ramp_s: float = 0.0
    """How long the rate (or the concurrency) takes to rise linearly from what it was; at the start that is nothing."""
    max_in_flight: int = 1024
    """Open loop: an arrival that finds so many requests unanswered is dropped, and counted as such."""

    @property
    def is_open(self) -> bool:
        return self.rate > 0


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Latency seen by the client, ms. None below the floor of n when certified, else drawn as provisional."""

    n: int = 0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None


P95_FLOOR = 130
P99_FLOOR = 662
"""Samples below which a percentile is not certified at 99 % confidence (order statistics)."""


@dataclass(frozen=True, slots=True)
class Stages:
    """Mean server time of a request by stage, ms."""

    queue_ms: float = 0.0
    tokenize_ms: float = 0.0
    infer_ms: float = 0.0
    serialize_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """Figures over the last `window_s` seconds of load."""

    window_s: float = 5.0
    texts_per_s: float | None = None
    pairs_per_s: float | None = None
    requests_per_s: float | None = None
    trend: float | None = None
    """Relative change of texts/s against the window before, e.g. 0.03."""
    best_texts_per_s: float | None = None
    latency: Percentiles = field(default_factory=Percentiles)
    stages: Stages | None = None
    client_server_gap_ms: float | None = None
    """Mean client latency minus mean server time: transport and the client itself."""
    mean_batch_items: float | None = None
    mean_batch_tokens: float | None = None
    padding_ratio: float | None = None
    """Padding's share of what the forward passes ran, 0..1."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load driver as last heard of."""

    running: bool = False
    spec: LoadSpec = field(default_factory=LoadSpec)
    elapsed_s: float = 0.0
    warming_up: bool = False
    requests: int = 0
    texts: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    """By gRPC code name, since the load started."""
    retries: int = 0
    truncated_texts: int = 0
    in_flight: int = 0
    dropped: int = 0
    """Open loop: arrivals since the load started that were not sent, because too many requests were unanswered."""
    lag_p99_ms: float | None = None
    """Open loop: how late requests were sent over the last seconds."""
    cpu_cores: float = 0.0
    saturated: bool = False
    """The driver itself was the bottleneck."""
    message: str = ""
    """Why it stopped by itself, or why a corpus could not be read."""


@dataclass(frozen=True, slots=True)
class Point:
    """One interval on the charts, ending at `time_s`. None is a gap: nothing was measured."""

    time_s: float
    texts_per_s: float | None = None
    requests_per_s: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    n: int = 0
    epoch: int = 0
    queued_items: int | None = None
    mean_batch_items: float | None = None
    in_flight_requests: int | None = None


@dataclass(frozen=True, slots=True)
class Marker:
    """A switch, or what somebody marked by hand, on the time axis."""

    time_s: float
    ordinal: int
    """1 for S1, 2 for S2, …; marks are counted by themselves: M1, M2, …"""
    label: str
    """`torch·fp32 → onnx·fp32`, with `(eff fp32)` where it fell back; of a mark somebody's own words, or none."""
    fell_back: bool = False
    by_hand: bool = False

    @property
    def name(self) -> str:
        """`S1` of a switch, `M1` of a mark."""
        return f"{'M' if self.by_hand else 'S'}{self.ordinal}"


@dataclass(frozen=True, slots=True)
class Change:
    """before → after of one figure. `margin` is the half-width of the 95 % interval of `relative`."""

    before: float
    after: float
    relative: float | None = None
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class SwitchDelta:
    """What a switch changed, from steady seconds before and after it."""

    ordinal: int
    label: str
    time_s: float
    took_s: float
    settled: bool
    """False while seconds are still being gathered after the cut-over."""
    settling_left_s: float = 0.0
    texts_per_s: Change | None = None
    p50_ms: Change | None = None
    p95_ms: Change | None = None
    p99_ms: Change | None = None
    rss_bytes: Change | None = None
    fidelity: Change | None = None
    """Mean cosine to fp32, as last measured of each."""
    errors: int = 0
    """Failed requests between the request for the switch and its release."""
    verdict: str = ""
    """`faster`, `slower`, `same`, `undecided`, or why nothing can be said (`no load`)."""


class CellState(StrEnum):
    """What the capability rules say of a cell."""

    NATIVE = "native"
    SLOW = "slow"
    FALLS_BACK = "falls_back"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    """The engine says something that this console does not know."""


@dataclass(frozen=True, slots=True)
class CapabilityCell:
    """One cell of the matrix, as the engine's rule table wrote it."""

    backend: str
    precision: str
    device: str
    state: CellState
    recipe: str = ""
    effective: Deployment = field(default_factory=Deployment)
    reason: str = ""
    fix: str = ""
    texts_per_s: float | None = None
    fidelity: float | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log: from the engine, the load driver or the console itself."""

    sequence: int
    wall_time: str
    """HH:MM:SS"""
    source: str
    """`engine`, `driver`, `console`"""
    level: str
    """`debug`, `info`, `warning`, `error`, `event`"""
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything a screen needs, at one moment."""

    now_s: float = 0.0
    engine: Engine = field(default_factory=Engine)
    load: Load = field(default_factory=Load)
    window: Window = field(default_factory=Window)
    points: Sequence[Point] = ()
    """Oldest first, at most the ring's length (10 minutes at one interval a second)."""
    points_version: int = 0
    """Grows with every new interval: charts redraw only then."""
    markers: tuple[Marker, ...] = ()
    deltas: tuple[SwitchDelta, ...] = ()
    """Newest last."""
    capabilities: tuple[CapabilityCell, ...] = ()
    log: Sequence[LogLine] = ()
    """Newest last, bounded."""
    log_version: int = 0
    console_cpu: float = 0.0
    """Share of one core used by the console's own process over the last seconds."""
    dropped_frames: int = 0
    """Engine frames that came later than twice their interval, or intervals lost."""
    experiments: Experiments = field(default_factory=Experiments)
    replay: Replaying | None = None
    """Set: this is no live engine, but a stored run."""
