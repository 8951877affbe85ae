"""Converts texts to token ids, with the `tokenizers` library and the model's own settings."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tokenizers
from tokenizers import normalizers

from engine.errors import ModelError
from engine.models.resolve import ModelFiles
from engine.models.token_cache import token_cache_for


class TokenizedText(NamedTuple):
    """The token ids of a text, special tokens included, not padded, and whether it was truncated."""

    ids: list[int]
    truncated: bool


MAX_INLINE_CHARACTERS = 400
"""The most characters that are tokenized on the event loop. Measured: less time than two thread hops, about 100 µs."""

MAX_INLINE_CACHED_CHARACTERS = 8_000
"""The same for texts of cached words. Measured: about 200 µs, for a hundred short texts."""


class PendingTexts(NamedTuple):
    """Texts that are not tokenized completely."""

    texts: Sequence[str]
    """With their prompts."""
    cached: list[TokenizedText | None]
    """The results of the token cache for the first texts, as far as they were looked up; None for a cache miss."""


class Tokenizer:
    """A tokenizer whose settings do not change after loading. Thread-safe."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._token_cache = token_cache_for(tokenizer)

    @classmethod
    def load(cls, files: ModelFiles, artifact: Path | None = None) -> "Tokenizer":
        """Loads the model's tokenizer.json, or the converted one in the folder `artifact`. Raises ModelError."""
        path = tokenizer_path(files, artifact)
        if path is None:
            raise ModelError(f"{files.path} has no tokenizer.json: `engine export` converts an older tokenizer")
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"{path} cannot be read: download the model again ({error})") from error
        if files.card.lowercase and not _lowercases(tokenizer):
            own = tokenizer.normalizer
            tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *([own] if own else [])])
        tokenizer.no_padding()
        tokenizer.enable_truncation(files.card.max_tokens)
        return cls(tokenizer, files.card.max_tokens)

    def encode(self, texts: Sequence[str], prompt: str = "") -> list[TokenizedText]:
        """Returns the token ids of each text, with `prompt` prepended, in order. Thread-safe."""
        return self.finish(PendingTexts([prompt + text for text in texts] if prompt else texts, []))

    def encode_inline(self, texts: Sequence[str], prompt: str, characters: int) -> "list[TokenizedText] | PendingTexts":
        """Encodes the texts if that takes less time than two thread hops; else returns the input of `finish`, which
        another thread completes.

        `characters`: the number of characters of all texts and their prompts. It decides, together with the cache.
        """
        if prompt:
            texts = [prompt + text for text in texts]
        pending = PendingTexts(texts, [])
        if characters > MAX_INLINE_CACHED_CHARACTERS:
            return pending
        for text in texts:
            pending.cached.append(self._from_cache(text))
            if pending.cached[-1] is None and characters > MAX_INLINE_CHARACTERS:
                return pending
        return self.finish(pending)

    def finish(self, pending: "PendingTexts") -> list[TokenizedText]:
        """Completes `encode_inline`, without a second cache look-up of any text. Thread-safe."""
        texts = pending.texts
        cached = pending.cached + [self._from_cache(text) for text in texts[len(pending.cached) :]]
        missing = [text for text, one in zip(texts, cached, strict=True) if one is None]
        if not missing:
            return [one for one in cached if one is not None]
        computed = iter(self.encode_uncached(missing))
        if self._token_cache is not None:
            for text in missing:
                self._token_cache.learn(text)
        return [one or next(computed) for one in cached]

    def _from_cache(self, text: str) -> TokenizedText | None:
        words = self._token_cache
        if words is None or (ids := words.ids(text)) is None:
            return None
        if len(ids) <= self._max_tokens:
            return TokenizedText(ids, False)
        return TokenizedText(words.truncate(ids, self._max_tokens), True)

    def encode_uncached(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Like `encode`, without a prompt and without the cache."""
        single = len(texts) == 1  # the library encodes it in this thread
        encodings = [self._tokenizer.encode(texts[0])] if single else self._tokenizer.encode_batch_fast(texts)
        limit = self._max_tokens
        tokenized = []
        for encoding in encodings:
            ids = encoding.ids
            tokenized.append(TokenizedText(ids, len(ids) >= limit and bool(encoding.overflowing)))
        return tokenized


def tokenizer_path(files: ModelFiles, artifact: Path | None = None) -> Path | None:
    """Returns the path of tokenizer.json; None if the model has an older tokenizer that is not converted yet."""
    folders = [files.path / files.card.transformer_path, files.path, *([artifact] if artifact else [])]
    return next((folder / "tokenizer.json" for folder in folders if (folder / "tokenizer.json").exists()), None)


def _lowercases(tokenizer: tokenizers.Tokenizer) -> bool:
    """Returns whether the tokenizer's normaliser lower-cases: doing so twice could change the result."""
    state = json.loads(tokenizer.to_str())["normalizer"] or {}
    parts = state.get("normalizers", [state])
    return any(part.get("type") == "Lowercase" or part.get("lowercase") for part in parts)
