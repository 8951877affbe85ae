"""One recorded request, with its retries, from the first attempt to the answer or the final failure.

A request is retried only on errors that the API documents as transient: UNAVAILABLE, and RESOURCE_EXHAUSTED with
RetryInfo, after the time that it gives. Each retry is counted. A request that finally fails counts as an error under
its code, never as throughput.
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
    """A load specification with its serialised requests and its corpus."""

    spec: LoadSpec
    requests: Requests
    corpus: Corpus


async def make_plan(spec: LoadSpec, max_text_bytes: int) -> Plan:
    """Reads or generates the corpus in a thread, so that callers of the old plan keep running. Raises CorpusError."""

    def build() -> Plan:
        corpus = load_corpus(spec.corpus, spec.seed, max_text_bytes)
        return Plan(spec, Requests(corpus.texts, spec.workload), corpus)

    return await asyncio.to_thread(build)


def retry_pause_s(failure: CallFailed, attempt: int) -> float | None:
    """Returns how long to wait before the next attempt; None if the failure is final."""
    if failure.code == "RESOURCE_EXHAUSTED":
        return failure.retry_after_s
    if failure.code == "UNAVAILABLE" and attempt < UNAVAILABLE_ATTEMPTS:
        return failure.retry_after_s or FIRST_BACKOFF_S * 2.0 ** (attempt - 1)
    return None


async def one_request(
    plan: Plan, transport: Transport, recorder: Recorder, clock: Callable[[], float], scheduled_s: float | None = None
) -> bool:
    """Sends one request; returns whether it was answered.

    Its latency counts from `scheduled_s`, or in a closed loop from its first attempt.
    """
    size = plan.spec.batch
    body = plan.requests.take(size)
    sent_s = clock()
    begin_s = sent_s if scheduled_s is None else scheduled_s
    if scheduled_s is not None:
        recorder.record_send_lag(sent_s - scheduled_s)
    deadline_s = sent_s + REQUEST_TIMEOUT_S
    attempt = 0
    recorder.record_start()
    try:
        while True:
            attempt += 1
            try:
                reply = await transport.call(body, size, max(deadline_s - clock(), 0.001))
            except CallFailed as failure:
                pause_s = retry_pause_s(failure, attempt)
                if pause_s is None or clock() + pause_s >= deadline_s:
                    recorder.record_failure(failure.code, failure.message)
                    return False
                recorder.record_retry(failure.code, failure.message)
                await asyncio.sleep(pause_s)
            except Exception as error:  # otherwise the caller would end, and lower the load unnoticed
                recorder.record_failure("DRIVER_FAULT", f"{type(error).__name__}: {error}")
                return False
            else:
                recorder.record_success(reply, size, plan.requests.is_pairs, begin_s, clock())
                return True
    finally:
        recorder.record_end()
