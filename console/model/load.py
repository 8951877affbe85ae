"""The load and its metrics: specification, percentiles, windows and chart points."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """The load to generate, as requests of `batch` texts.

    Closed loop: `concurrency` callers, each with one request in flight. Open loop, if `rate` is set: `rate` requests a
    second on a schedule that does not depend on the responses; `concurrency` is ignored.
    """

    batch: int = 32
    concurrency: int = 4
    workload: str = "texts"
    """`texts`, or `pairs` for Similarity with `batch` pairs a request."""
    corpus: str = "short"
    """The name of a generated corpus (short, mixed, long) or a file's path."""
    stream: bool = False
    seed: int = 0
    """Seed of generated corpora and of Poisson arrivals."""
    rate: float = 0.0
    """Requests a second of an open loop; 0 for a closed loop."""
    arrival: str = "poisson"
    """Inter-arrival times of an open loop: `poisson` (exponential) or `constant`."""
    ramp_s: float = 0.0
    """Duration of the linear ramp from the previous rate or concurrency (0 at the start) to the new one."""
    max_in_flight: int = 1024
    """Open loop: limit of unanswered requests; an arrival beyond it is dropped and counted."""

    @property
    def is_open(self) -> bool:
        return self.rate > 0


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Client latency, ms. With certified percentiles, p95 and p99 are None below their minimum number of samples."""

    n: int = 0
    mean_ms: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None


P95_FLOOR = 130
P99_FLOOR = 662
"""Minimum number of samples to certify a percentile: n samples all lie below the p-quantile with probability p^n."""


@dataclass(frozen=True, slots=True)
class Stages:
    """Mean server time of a request by stage, ms."""

    queue_ms: float = 0.0
    tokenize_ms: float = 0.0
    infer_ms: float = 0.0
    serialize_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """Metrics over the last `window_s` seconds of load."""

    window_s: float = 5.0
    texts_per_s: float | None = None
    pairs_per_s: float | None = None
    requests_per_s: float | None = None
    trend: float | None = None
    """Change of texts/s relative to the previous window, for example 0.03."""
    best_texts_per_s: float | None = None
    latency: Percentiles = field(default_factory=Percentiles)
    stages: Stages | None = None
    client_server_gap_ms: float | None = None
    """Mean client latency minus mean server time: the time of the transport and the client."""
    mean_batch_items: float | None = None
    mean_batch_tokens: float | None = None
    padding_ratio: float | None = None
    """Share of padding in the tokens of the forward passes, 0..1."""


@dataclass(frozen=True, slots=True)
class Load:
    """The last known state of the load."""

    running: bool = False
    spec: LoadSpec = field(default_factory=LoadSpec)
    elapsed_s: float = 0.0
    warming_up: bool = False
    requests: int = 0
    texts: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    """Failed requests since the load started, by the gRPC code's name."""
    retries: int = 0
    truncated_texts: int = 0
    in_flight: int = 0
    dropped: int = 0
    """Open loop: arrivals since the load started that were dropped at `max_in_flight`."""
    lag_p99_ms: float | None = None
    """Open loop: p99 of the send lag (sent − scheduled) over the last seconds."""
    cpu_cores: float = 0.0
    saturated: bool = False
    """Whether the load generator is the bottleneck."""
    message: str = ""
    """Why the load stopped, unless the user stopped it."""
    experiment: bool = False
    """Whether a measurement generates the load and records it itself."""


@dataclass(frozen=True, slots=True)
class Point:
    """One interval on the charts, which ends at `time_s`. None draws a gap: nothing was measured."""

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
