"""The data path of one request, free of any wire protocol: check, reserve, tokenize, queue, forward, serialize."""

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
from engine.errors import Expired, InvalidRequest, PoisonedText, Unavailable
from engine.models.card import ModelCard
from engine.models.tokenizer import TokenizedText
from engine.pipeline.metrics import RequestTimings, Telemetry
from engine.scheduling import Admission, JobResult


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What one request may carry. Over one of these is the caller's mistake: InvalidRequest."""

    max_texts: int = 2048
    max_text_bytes: int = 128 * 1024
    max_request_bytes: int = 8 * 1024 * 1024


class EmbedOptions(NamedTuple):
    """How the vectors are wanted. `normalize` None: as the model's own modules say; `dimensions` 0: all."""

    half: bool = False
    dimensions: int = 0
    normalize: bool | None = None
    truncation_is_error: bool = False
    prompt_name: str = ""
    serialize: bool = True
    """Whether the answer carries the vectors as bytes too."""


_AS_THE_MODEL_SAYS = EmbedOptions()


class Embedding(NamedTuple):
    """One request's answer."""

    vectors: NDArray[np.float32] | NDArray[np.float16]
    """(n, dim), C-contiguous; float16 where half was asked for."""
    payload: bytes
    """The vectors row by row, little-endian; empty where `serialize` was off."""
    live: LiveDeployment
    token_counts: Sequence[int]
    truncated: Sequence[bool]
    timings: RequestTimings


class Serving:
    """Answers requests through whatever is live. Every front end calls this and nothing below it."""

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
        self._dry = asyncio.Event()
        self._draining = False

    async def embed(
        self, texts: Sequence[str], options: EmbedOptions = _AS_THE_MODEL_SAYS, deadline_s: float | None = None,
        *, pairs: int = 0,
    ) -> Embedding:  # fmt: skip
        """Embeds 1..N texts and counts the request. `deadline_s` is on the engine's clock. Raises any EngineError.

        `pairs`: how many pairs the texts are, for the counters.
        """
        if self._draining:
            raise Unavailable("the engine is draining: send this to another one, or retry when it is back")
        size_bytes = self._check(texts)
        try:
            embedding = await self._answer(texts, size_bytes, options, deadline_s)
            self.telemetry.request_done(embedding.timings, len(texts), pairs, sum(embedding.truncated))
            return embedding
        finally:
            if not self.telemetry.in_flight_requests:
                self._dry.set()  # wakes drain()

    async def _answer(
        self, texts: Sequence[str], size_bytes: int, options: EmbedOptions, deadline_s: float | None
    ) -> Embedding:
        with self.telemetry.in_flight(), self.admission.reserve(len(texts), size_bytes) as reservation:
            live = self.deployments.live
            with live.bound():
                prompt = _prompt(live.model_card, options.prompt_name)
                dimensions = _dimensions(live.model_card, options.dimensions)
                started_s = self._clock()
                tokenized = await self._tokenize(live, texts, size_bytes, prompt)
                tokenize_s = self._clock() - started_s
                truncated = [text.truncated for text in tokenized]
                if options.truncation_is_error and any(truncated):
                    _refuse_truncation(live.model_card, truncated)
                ids = [text.ids for text in tokenized]
                counts = [len(text) for text in ids]
                reservation.settle(sum(counts))
                if deadline_s is not None and deadline_s <= self._clock():
                    raise Expired("the deadline passed while the request was tokenized: allow more time")
                job = live.scheduler.submit(ids, deadline_s=deadline_s)
                result = await job
                started_s = self._clock()
                vectors = _finish(result, live.model_card.normalize, dimensions, options)
                payload = vectors.tobytes() if options.serialize else b""
                serialize_s = self._clock() - started_s
                timings = RequestTimings(result.queue_s, tokenize_s, result.infer_s, serialize_s)
                return Embedding(vectors, payload, live, counts, truncated, timings)

    @property
    def draining(self) -> bool:
        """Whether new requests are refused."""
        return self._draining

    async def drain(self) -> None:
        """Refuses new requests and returns when the last one in hand is answered."""
        self._draining = True
        if self.telemetry.in_flight_requests:
            self._dry.clear()
            await self._dry.wait()

    def close(self) -> None:
        """Ends the tokenizing thread."""
        self._tokenizing.shutdown(wait=False, cancel_futures=True)

    def _check(self, texts: Sequence[str]) -> int:
        """Size in bytes of the request. Raises InvalidRequest before any work is done."""
        limits = self.limits
        if not texts:
            raise InvalidRequest("the list of texts is empty: send at least one text (an empty string is a text)")
        if len(texts) > limits.max_texts:
            raise InvalidRequest(f"{len(texts)} texts in one request, at most {limits.max_texts} are allowed: split it")
        total = 0
        for position, text in enumerate(texts):
            size = len(text) if text.isascii() else len(text.encode())
            if size > limits.max_text_bytes:
                raise InvalidRequest(
                    f"text {position} has {size} bytes, at most {limits.max_text_bytes} are allowed: "
                    "cut it into passages"
                )
            total += size
        if total > limits.max_request_bytes:
            raise InvalidRequest(
                f"the texts have {total} bytes together, at most {limits.max_request_bytes} are allowed: split them"
            )
        return total

    async def _tokenize(
        self, live: LiveDeployment, texts: Sequence[str], size_bytes: int, prompt: str
    ) -> Sequence[TokenizedText]:
        encoded = live.tokenizer.encode_inline(texts, prompt, size_bytes + len(prompt) * len(texts))
        if isinstance(encoded, list):
            return encoded
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._tokenizing, live.tokenizer.finish, encoded)


def _prompt(model_card: ModelCard, name: str) -> str:
    """The text put before each input. Raises InvalidRequest for a name that the model does not have."""
    chosen = name or model_card.default_prompt or ""
    if not chosen:
        return ""
    if chosen not in model_card.prompts:
        known = ", ".join(sorted(model_card.prompts)) or "none"
        raise InvalidRequest(f"this model has no prompt of that name: leave prompt_name empty or use one of: {known}")
    return model_card.prompts[chosen]


def _dimensions(model_card: ModelCard, wanted: int) -> int:
    """How many dimensions to keep. Raises InvalidRequest for more than there are."""
    dim = model_card.dim
    if wanted > dim:
        raise InvalidRequest(f"{wanted} dimensions asked for, the model has {dim}: ask for 1 to {dim}, or 0 for all")
    return wanted or dim


def _refuse_truncation(model_card: ModelCard, truncated: Sequence[bool]) -> None:
    position = truncated.index(True)
    raise InvalidRequest(
        f"text {position} is longer than the {model_card.max_tokens} tokens that the model reads, and truncation "
        "was refused: shorten it, or ask for truncate END"
    )


def _finish(
    result: JobResult, model_normalizes: bool, dimensions: int, options: EmbedOptions
) -> NDArray[np.float32] | NDArray[np.float16]:
    """The vectors as asked for: normalised or not, cut to `dimensions`, in the wanted dtype.

    Cut vectors are normalised after the cut, since a part of a unit vector is not one. Raises InvalidRequest for a
    vector that the dtype cannot hold.
    """
    unit, norms = result.vectors.unit, result.vectors.norms
    normalize = model_normalizes if options.normalize is None else options.normalize
    with np.errstate(over="ignore"):  # looked for below
        vectors = unit if normalize else unit * norms[:, None]
        if dimensions < vectors.shape[1]:
            vectors = vectors[:, :dimensions]
            if normalize:
                lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
                vectors = vectors / np.maximum(lengths, np.float32(1e-12))
        finished: NDArray[np.float32] | NDArray[np.float16] = (
            np.ascontiguousarray(vectors, np.float16) if options.half else np.ascontiguousarray(vectors, np.float32)
        )
    # The scheduler gives finite vectors alone, so those that nothing was done to need no second look.
    if finished is not unit and not (finite := np.isfinite(finished).all(axis=1)).all():
        position = int(np.argmin(finite))
        if normalize:
            raise PoisonedText(position, "its vector is not finite")
        _refuse_length(position, float(norms[position]), half=options.half)
    return finished


def _refuse_length(position: int, length: float, *, half: bool) -> NoReturn:
    dtype, largest, wider = ("FLOAT16", 65504.0, "FLOAT32, or for ") if half else ("FLOAT32", 3.4028235e38, "")
    raise InvalidRequest(
        f"text {position} has a vector of length {length:.3g}, too large for {dtype}, whose largest number is "
        f"{largest:.6g}: ask for {wider}vectors of unit length (normalize)"
    )
