"""One request from its first attempt to its answer or its final failure, recorded.

A request is retried only where the contract says that it may pass (UNAVAILABLE; RESOURCE_EXHAUSTED that carries
RetryInfo, after the time it names), and each retry is counted. One that finally fails is an error by its code and never
throughput.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from console.load.calls import CallFailed, Requests, Transport
from console.load.corpora import Corpus, load_corpus
from console.load.recorder import Recorder
from console.model.load import LoadSpec

REQUEST_TIMEOUT_S = 30.0
UNAVAILABLE_ATTEMPTS = 5
FIRST_BACKOFF_S = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent now."""

    spec: LoadSpec
    requests: Requests
    corpus: Corpus


async def make_plan(spec: LoadSpec, max_text_bytes: int) -> Plan:
    """Reads or generates the corpus off the event loop, so that callers of the old plan run on. Raises CorpusError."""

    def build() -> Plan:
        corpus = load_corpus(spec.corpus, spec.seed, max_text_bytes)
        return Plan(spec, Requests(corpus.texts, spec.workload), corpus)

    return await asyncio.to_thread(build)


def retry_pause_s(failure: CallFailed, attempt: int) -> float | None:
    """How long to wait before attempt + 1; None when this failure is final."""
    if failure.code == "RESOURCE_EXHAUSTED":
        return failure.retry_after_s
    if failure.code == "UNAVAILABLE" and attempt < UNAVAILABLE_ATTEMPTS:
        return failure.retry_after_s or FIRST_BACKOFF_S * 2.0 ** (attempt - 1)
    return None


async def one_request(
    plan: Plan, transport: Transport, recorder: Recorder, clock: Callable[[], float], scheduled_s: float | None = None
) -> bool:
    """True when it was answered. Its latency runs from `scheduled_s`, in a closed loop from its first attempt."""
    size = plan.spec.batch
    body = plan.requests.take(size)
    sent_s = clock()
    begin_s = sent_s if scheduled_s is None else scheduled_s
    if scheduled_s is not None:
        recorder.sent_late(sent_s - scheduled_s)
    deadline_s = sent_s + REQUEST_TIMEOUT_S
    attempt = 0
    recorder.begun()
    try:
        while True:
            attempt += 1
            try:
                reply = await transport.call(body, size, max(deadline_s - clock(), 0.001))
            except CallFailed as failure:
                pause_s = retry_pause_s(failure, attempt)
                if pause_s is None or clock() + pause_s >= deadline_s:
                    recorder.failed(failure.code, failure.message)
                    return False
                recorder.retried(failure.code, failure.message)
                await asyncio.sleep(pause_s)
            except Exception as error:  # a caller that died silently would lower the load unseen
                recorder.failed("DRIVER_FAULT", f"{type(error).__name__}: {error}")
                return False
            else:
                recorder.succeeded(reply, size, plan.requests.is_pairs, begin_s, clock())
                return True
    finally:
        recorder.ended()
