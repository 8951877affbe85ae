"""Made-up measurements for tests of what is computed from them."""

from collections.abc import Sequence

from hdrh.histogram import HdrHistogram

from console.load.protocol import Answers, Interval
from console.load.recorder import LONGEST_LATENCY_US, SIGNIFICANT_DIGITS


def answers(latencies_ms: Sequence[float], texts_each: int = 1) -> Answers:
    """Successful requests with these latencies."""
    histogram = HdrHistogram(1, LONGEST_LATENCY_US, SIGNIFICANT_DIGITS)
    for latency_ms in latencies_ms:
        histogram.record_value(int(latency_ms * 1000))
    return Answers(
        requests=len(latencies_ms),
        texts=texts_each * len(latencies_ms),
        latency=str(histogram.encode(), "ascii") if latencies_ms else None,
        latency_sum_us=int(sum(latencies_ms) * 1000),
    )


def second(
    index: int,
    requests: int = 100,
    latency_ms: float = 10.0,
    texts_each: int = 1,
    errors: dict[str, int] | None = None,
    cpu_cores: float = 0.1,
    epoch: int = 1,
) -> Interval:
    """The interval from `index` to `index` + 1 with evenly spaced completions."""
    made = answers([latency_ms] * requests, texts_each)
    return Interval(
        index=index,
        start_s=float(index),
        duration_s=1.0,
        answers=made,
        errors=errors or {},
        cpu_cores=cpu_cores,
        first_completion_s=index + 1 / requests if requests else None,
        last_completion_s=float(index + 1) if requests else None,
        stages_ms={"queue": 1.0, "tokenize": 1.0, "infer": 5.0, "serialize": 1.0} if requests else {},
        epochs={str(epoch): made} if requests else {},
    )
