"""Texts to token ids, with the `tokenizers` library alone and the model's own settings."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tokenizers
from tokenizers import normalizers

from engine.errors import ModelError
from engine.models.resolve import ModelFiles
from engine.models.token_cache import between_spaces


class TokenizedText(NamedTuple):
    """One text's ids, special tokens included and never padded, and whether its end was cut off."""

    ids: list[int]
    truncated: bool


INLINE_CHARACTERS = 400
"""So many characters are tokenized in less time than two thread hops take (about 100 µs)."""

INLINE_CACHED_CHARACTERS = 8_000
"""The same where the cache knows every word: a hundred short texts, about 200 µs."""


class Unfinished(NamedTuple):
    """Texts, prompts included, of which the first `len(cached)` were looked up in the token cache; None: not in it."""

    texts: Sequence[str]
    cached: list[TokenizedText | None]


class Tokenizer:
    """A tokenizer whose settings never change after loading, so that any thread may use it at any time."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._token_cache = between_spaces(tokenizer)

    @classmethod
    def load(cls, files: ModelFiles, artifact: Path | None = None) -> "Tokenizer":
        """Loads the model's tokenizer.json, or the one the preparer converted into `artifact`. Raises ModelError."""
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
        """Token ids of each text, in order, with `prompt` put before it. Thread-safe."""
        return self.finish(Unfinished([prompt + text for text in texts] if prompt else texts, []))

    def encode_inline(self, texts: Sequence[str], prompt: str, characters: int) -> "list[TokenizedText] | Unfinished":
        """As `encode` where that costs less than two thread hops; else what `finish` completes in another thread.

        `characters`: of all texts and their prompts, which decides together with what the cache knows.
        """
        if prompt:
            texts = [prompt + text for text in texts]
        begun = Unfinished(texts, [])
        if characters > INLINE_CACHED_CHARACTERS:
            return begun
        for text in texts:
            begun.cached.append(self._from_cache(text))
            if begun.cached[-1] is None and characters > INLINE_CHARACTERS:
                return begun
        return self.finish(begun)

    def finish(self, begun: "Unfinished") -> list[TokenizedText]:
        """Completes what `encode_inline` began. Looks no text up in the cache a second time. Thread-safe."""
        texts = begun.texts
        cached = begun.cached + [self._from_cache(text) for text in texts[len(begun.cached) :]]
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
        return TokenizedText(words.cut(ids, self._max_tokens), True)

    def encode_uncached(self, texts: Sequence[str]) -> list[TokenizedText]:
        """As `encode` without a prompt and without the cache."""
        one = len(texts) == 1  # the library computes it in this thread
        encodings = [self._tokenizer.encode(texts[0])] if one else self._tokenizer.encode_batch_fast(texts)
        limit = self._max_tokens
        tokenized = []
        for encoding in encodings:
            ids = encoding.ids
            tokenized.append(TokenizedText(ids, len(ids) >= limit and bool(encoding.overflowing)))
        return tokenized


def tokenizer_path(files: ModelFiles, artifact: Path | None = None) -> Path | None:
    """The tokenizer.json to use; None when the model has an older tokenizer that nobody has converted yet."""
    folders = [files.path / files.card.transformer_path, files.path, *([artifact] if artifact else [])]
    return next((folder / "tokenizer.json" for folder in folders if (folder / "tokenizer.json").exists()), None)


def _lowercases(tokenizer: tokenizers.Tokenizer) -> bool:
    """Whether its normaliser lower-cases already: doing it twice could change what the second one sees."""
    state = json.loads(tokenizer.to_str())["normalizer"] or {}
    parts = state.get("normalizers", [state])
    return any(part.get("type") == "Lowercase" or part.get("lowercase") for part in parts)
