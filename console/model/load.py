"""The load and its figures: what is sent, percentiles, windows and chart points."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
