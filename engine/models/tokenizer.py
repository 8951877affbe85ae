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
        """Token ids of each text, in order, `prompt` put before it. Thread-safe; one text stays in this thread."""
        if prompt:
            texts = [prompt + text for text in texts]
        found = [self._from_cache(text) for text in texts]
        unknown = [text for text, one in zip(texts, found, strict=True) if one is None]
        if not unknown:
            return [one for one in found if one is not None]
        spelled = iter(self.spell(unknown))
        if self._token_cache is not None:
            for text in unknown:
                self._token_cache.learn(text)
        return [one or next(spelled) for one in found]

    def encode_known(self, texts: Sequence[str], prompt: str = "") -> list[TokenizedText] | None:
        """As `encode` in a tenth of the time, or None where that is not possible: a word was not met before."""
        found = []
        for text in texts:
            if (one := self._from_cache(prompt + text)) is None:
                return None
            found.append(one)
        return found

    def _from_cache(self, text: str) -> TokenizedText | None:
        words = self._token_cache
        if words is None or (ids := words.ids(text)) is None:
            return None
        if len(ids) <= self._max_tokens:
            return TokenizedText(ids, False)
        return TokenizedText(words.cut(ids, self._max_tokens), True)

    def spell(self, texts: Sequence[str]) -> list[TokenizedText]:
        """As `encode` without prompts, by the tokenizer alone."""
        one = len(texts) == 1  # stays in this thread
        encodings = [self._tokenizer.encode(texts[0])] if one else self._tokenizer.encode_batch_fast(texts)
        limit = self._max_tokens
        spelled = []
        for encoding in encodings:
            ids = encoding.ids
            spelled.append(TokenizedText(ids, len(ids) >= limit and bool(encoding.overflowing)))
        return spelled


def tokenizer_path(files: ModelFiles, artifact: Path | None = None) -> Path | None:
    """The tokenizer.json to use; None when the model has an older tokenizer that nobody has converted yet."""
    folders = [files.path / files.card.transformer_path, files.path, *([artifact] if artifact else [])]
    return next((folder / "tokenizer.json" for folder in folders if (folder / "tokenizer.json").exists()), None)


def _lowercases(tokenizer: tokenizers.Tokenizer) -> bool:
    """Whether its normaliser lower-cases already: doing it twice could change what the second one sees."""
    state = json.loads(tokenizer.to_str())["normalizer"] or {}
    parts = state.get("normalizers", [state])
    return any(part.get("type") == "Lowercase" or part.get("lowercase") for part in parts)
