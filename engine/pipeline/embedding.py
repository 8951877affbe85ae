"""The pipeline of a request, independent of any protocol: validate, reserve, tokenize, queue, forward, serialize."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from engine.deployment.live import LiveDeployment
from engine.deployment.switch import Deployments
from engine.errors import Expired, InvalidRequest, Overloaded, PoisonedText, Unavailable
from engine.models.card import ModelCard
from engine.models.tokenizer import TokenizedText
from engine.pipeline.metrics import RequestTimings, Telemetry
from engine.pipeline.open_calls import OpenCalls
from engine.scheduling import Admission, JobResult
from engine.scheduling.admission import DEFAULT_RETRY_S


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The limits of one request. A request over one of them raises InvalidRequest."""

    max_texts: int = 2048
    max_text_bytes: int = 128 * 1024
    max_text_chars: int = 128 * 1024
    max_request_bytes: int = 8 * 1024 * 1024
    max_response_bytes: int = 32 * 1024 * 1024
    """Bytes of the vectors of one response."""
    max_requests_in_flight: int = 10_000
    """Unanswered requests of all clients. A request above this number raises Overloaded."""


class EmbedOptions(NamedTuple):
    """The options of a request."""

    half: bool = False
    """Whether the vectors are float16 instead of float32."""
    dimensions: int = 0
    """The number of leading dimensions to keep; 0 keeps all."""
    normalize: bool | None = None
    """Whether the vectors have unit norm; None follows the model's own modules."""
    truncation_is_error: bool = False
    """Whether a text longer than the model's maximum raises InvalidRequest instead of being truncated."""
    prompt_name: str = ""
    """One of the model's prompts; empty for the model's default."""
    serialize: bool = True
    """Whether the result also has the vectors as bytes."""


_MODEL_DEFAULTS = EmbedOptions()


class EmbeddingResult(NamedTuple):
    """The result of a request."""

    vectors: NDArray[np.float32] | NDArray[np.float16]
    """(n, dim), C-contiguous; float16 if `half` is set."""
    payload: bytes
    """The vectors row by row, little-endian; empty unless `serialize` is set."""
    live: LiveDeployment
    """The deployment that computed the vectors."""
    token_counts: Sequence[int]
    truncated: Sequence[bool]
    timings: RequestTimings


class EmbeddingPipeline:
    """Runs requests on the live deployment. The servicers of every protocol call this class and no layer below it."""

    def __init__(
        self,
        deployments: Deployments,
        admission: Admission,
        telemetry: Telemetry,
        limits: RequestLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.deployments = deployments
        self.admission = admission
        self.telemetry = telemetry
        self.limits = limits
        self._clock = clock
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="tokenize")
        self._all_answered = asyncio.Event()
        self._draining = False
        self._requests = OpenCalls()
        self.streams = OpenCalls()
        """Calls that stay open between requests. The doors register them, and the server ends them."""
        self.lost_requests = 0
        """Accepted requests that failed because the engine drained, or lost an instance."""

    async def embed(
        self, texts: Sequence[str], options: EmbedOptions = _MODEL_DEFAULTS, deadline_s: float | None = None,
        *, pairs: int = 0,
    ) -> EmbeddingResult:  # fmt: skip
        """Embeds 1..N texts and counts the request. Raises any EngineError.

        `deadline_s`: a time on the engine's clock. `pairs`: the number of pairs that the texts form, for the counters.
        """
        if self._draining:
            raise Unavailable("the engine is draining: send the request to another engine, or retry later")
        size_bytes = self._validate(texts)
        if self.telemetry.in_flight_requests >= self.limits.max_requests_in_flight:
            raise Overloaded(
                f"the engine has {self.limits.max_requests_in_flight} unanswered requests, its limit: "
                f"retry in {DEFAULT_RETRY_S:.2f} s",
                DEFAULT_RETRY_S,
            )
        try:
            with self._requests.open():
                embedding = await self._run(texts, size_bytes, options, deadline_s)
        except Unavailable:
            self.lost_requests += 1
            raise
        else:
            self.telemetry.request_done(embedding.timings, len(texts), pairs, sum(embedding.truncated))
            return embedding
        finally:
            if not self.telemetry.in_flight_requests:
                self._all_answered.set()  # wakes drain()

    async def _run(
        self, texts: Sequence[str], size_bytes: int, options: EmbedOptions, deadline_s: float | None
    ) -> EmbeddingResult:
        with self.telemetry.in_flight(), self.admission.reserve(len(texts), size_bytes) as reservation:
            live = self.deployments.live
            with live.bound():
                prompt = _prompt(live.model_card, options.prompt_name)
                dimensions = _dimensions(live.model_card, options.dimensions)
                self._check_response_size(len(texts), dimensions, options)
                started_s = self._clock()
                tokenized = await self._tokenize(live, texts, size_bytes, prompt)
                tokenize_s = self._clock() - started_s
                truncated = [text.truncated for text in tokenized]
                if options.truncation_is_error and any(truncated):
                    _raise_truncated(live.model_card, truncated)
                ids = [text.ids for text in tokenized]
                counts = [len(text) for text in ids]
                reservation.set_tokens(sum(counts))
                if deadline_s is not None and deadline_s <= self._clock():
                    raise Expired("the deadline passed while the request was tokenized: allow more time")
                job = live.scheduler.submit(ids, deadline_s=deadline_s)
                result = await job
                started_s = self._clock()
                vectors = _postprocess(result, live.model_card.normalize, dimensions, options)
                payload = vectors.tobytes() if options.serialize else b""
                serialize_s = self._clock() - started_s
                timings = RequestTimings(result.queue_s, tokenize_s, result.infer_s, serialize_s)
                return EmbeddingResult(vectors, payload, live, counts, truncated, timings)

    @property
    def draining(self) -> bool:
        """Whether the engine refuses new requests."""
        return self._draining

    async def drain(self) -> None:
        """Refuses new requests, and waits until every request in flight is answered."""
        self._draining = True
        if self.telemetry.in_flight_requests:
            self._all_answered.clear()
            await self._all_answered.wait()

    def abandon(self) -> None:
        """Refuses new requests, and ends those in flight with Unavailable: the grace period of a drain is over."""
        self._draining = True
        self._requests.end_all("the engine ended before this request was answered: send it to another engine")

    def close(self) -> None:
        """Ends the tokenizer thread."""
        self._tokenizing.shutdown(wait=False, cancel_futures=True)

    def _validate(self, texts: Sequence[str]) -> int:
        """Returns the size of the request in bytes. Raises InvalidRequest if the request exceeds a limit."""
        limits = self.limits
        if not texts:
            raise InvalidRequest("the list of texts is empty: send at least one text (an empty string is a text)")
        if len(texts) > limits.max_texts:
            raise InvalidRequest(f"{len(texts)} texts in one request, at most {limits.max_texts} are allowed: split it")
        total = 0
        for position, text in enumerate(texts):
            size = len(text) if text.isascii() else len(text.encode())
            if len(text) > limits.max_text_chars:
                raise InvalidRequest(
                    f"text {position} has {len(text)} characters, at most {limits.max_text_chars} are allowed: "
                    "split it into passages"
                )
            if size > limits.max_text_bytes:
                raise InvalidRequest(
                    f"text {position} has {size} bytes, at most {limits.max_text_bytes} are allowed: "
                    "split it into passages"
                )
            total += size
        if total > limits.max_request_bytes:
            raise InvalidRequest(
                f"the texts have {total} bytes together, at most {limits.max_request_bytes} are allowed: split them"
            )
        return total

    def _check_response_size(self, texts: int, dimensions: int, options: EmbedOptions) -> None:
        """Raises InvalidRequest if the vectors as bytes exceed the limit."""
        size_bytes = texts * dimensions * (2 if options.half else 4)
        if options.serialize and size_bytes > self.limits.max_response_bytes:
            raise InvalidRequest(
                f"the vectors of {texts} texts with {dimensions} dimensions have {size_bytes} bytes, at most "
                f"{self.limits.max_response_bytes} are allowed: send fewer texts, or request fewer dimensions"
            )

    async def _tokenize(
        self, live: LiveDeployment, texts: Sequence[str], size_bytes: int, prompt: str
    ) -> Sequence[TokenizedText]:
        encoded = live.tokenizer.encode_inline(texts, prompt, size_bytes + len(prompt) * len(texts))
        if isinstance(encoded, list):
            return encoded
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._tokenizing, live.tokenizer.finish, encoded)


def _prompt(model_card: ModelCard, name: str) -> str:
    """Returns the text to prepend to each input. Raises InvalidRequest if the model has no prompt of that name."""
    chosen = name or model_card.default_prompt or ""
    if not chosen:
        return ""
    if chosen not in model_card.prompts:
        known = ", ".join(sorted(model_card.prompts)) or "none"
        raise InvalidRequest(f"this model has no prompt of that name: leave prompt_name empty or use one of: {known}")
    return model_card.prompts[chosen]


def _dimensions(model_card: ModelCard, wanted: int) -> int:
    """Returns the number of dimensions to keep. Raises InvalidRequest if the model has fewer."""
    dim = model_card.dim
    if wanted > dim:
        raise InvalidRequest(f"{wanted} dimensions requested, the model has {dim}: request 1 to {dim}, or 0 for all")
    return wanted or dim


def _raise_truncated(model_card: ModelCard, truncated: Sequence[bool]) -> None:
    position = truncated.index(True)
    raise InvalidRequest(
        f"text {position} is longer than the model's maximum of {model_card.max_tokens} tokens, and the request "
        "does not allow truncation: shorten the text, or set truncate to END"
    )


def _postprocess(
    result: JobResult, model_normalizes: bool, dimensions: int, options: EmbedOptions
) -> NDArray[np.float32] | NDArray[np.float16]:
    """Returns the vectors normalised or not, truncated to `dimensions`, in the requested dtype: (n, dimensions).

    Truncated vectors are normalised after the truncation, because a part of a unit vector has no unit norm. Raises
    PoisonedText for a vector that is not finite in the dtype.
    """
    unit, norms = result.vectors.unit, result.vectors.norms
    normalize = model_normalizes if options.normalize is None else options.normalize
    with np.errstate(over="ignore"):  # checked below
        vectors = unit if normalize else unit * norms[:, None]
        if dimensions < vectors.shape[1]:
            vectors = vectors[:, :dimensions]
            if normalize:
                lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
                vectors = vectors / np.maximum(lengths, np.float32(1e-12))
        finished: NDArray[np.float32] | NDArray[np.float16] = (
            np.ascontiguousarray(vectors, np.float16) if options.half else np.ascontiguousarray(vectors, np.float32)
        )
    # The scheduler returns finite vectors only, so unchanged vectors need no check.
    if finished is not unit and not (finite := np.isfinite(finished).all(axis=1)).all():
        position = int(np.argmin(finite))
        if normalize:
            raise PoisonedText(position, "its vector is not finite")
        _raise_out_of_range(position, float(norms[position]), half=options.half)
    return finished


def _raise_out_of_range(position: int, length: float, *, half: bool) -> NoReturn:
    dtype, largest, wider = ("FLOAT16", 65504.0, "FLOAT32, or for ") if half else ("FLOAT32", 3.4028235e38, "")
    raise PoisonedText(
        position,
        f"its vector has a norm of {length:.3g}, too large for {dtype}, whose largest number is {largest:.6g}: "
        f"request {wider}vectors of unit norm (normalize)",
    )
