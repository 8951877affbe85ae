"""A cache of the token ids of words: a text of cached words needs one dictionary look-up per word and no tokenizer.

Correct only for tokenizers that split a text at every space and tokenize each word on its own, as BERT's do
(`token_cache_for` decides). A word enters the cache at its second occurrence: words that never occur again (numbers,
keys, hashes) cost one look-up. Both dictionaries are bounded, because callers choose the words.
"""

import json
from collections.abc import Sequence

import tokenizers

MAX_WORDS = 32_768
"""The most words in the cache, about 6 MB. One more clears it. Chosen: 576 texts of prose have 3,200 words."""

MAX_WORD_CHARACTERS = 32
"""The longest word that is cached, in characters. Chosen: longer ones are rarely words."""


class TokenCache:
    """Token ids of texts from cached words. Thread-safe: each step is one operation on a dictionary."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, first: Sequence[int], last: Sequence[int]) -> None:
        """`first` and `last` are the special tokens around a text."""
        self._tokenizer = tokenizer
        self._first = first
        self._last = last
        self._ids: dict[str, Sequence[int]] = {"": ()}
        self._seen_once: set[str] = set()

    def ids(self, text: str) -> list[int] | None:
        """Returns the token ids of a text, special tokens included, not truncated; None if a word is not cached."""
        ids = [*self._first]
        known = self._ids
        try:
            for word in text.split(" "):
                ids += known[word]
        except KeyError:
            return None
        ids += self._last
        return ids

    def truncate(self, ids: list[int], max_tokens: int) -> list[int]:
        """Returns the ids of a longer text, truncated before the last special tokens."""
        return [*ids[: max_tokens - len(self._last)], *self._last]

    def learn(self, text: str) -> None:
        """Adds the words of a text: to the seen words at their first occurrence, to the cache at their second."""
        known, seen_once = self._ids, self._seen_once
        for word in text.split(" "):
            if word in known or len(word) > MAX_WORD_CHARACTERS:
                continue
            if word in seen_once:
                seen_once.discard(word)
                known[word] = tuple(self._tokenizer.encode(word, add_special_tokens=False).ids)
            else:
                seen_once.add(word)
            if len(known) > MAX_WORDS:
                self._ids = known = {"": ()}
            if len(seen_once) > MAX_WORDS:
                self._seen_once = seen_once = set()


def token_cache_for(tokenizer: tokenizers.Tokenizer) -> TokenCache | None:
    """Returns a cache for a tokenizer that splits at every space and tokenizes each word on its own; else None.

    That is WordPiece after BERT's normaliser, which changes single characters, and BERT's pre-tokeniser, which drops
    white space. A word between spaces may still contain other white space, punctuation, or an added token.
    """
    state = json.loads(tokenizer.to_str())
    normalizer = state["normalizer"] or {"normalizers": []}
    parts = normalizer.get("normalizers", [normalizer])
    independent = (
        state["model"].get("type") == "WordPiece"
        and (state["pre_tokenizer"] or {}).get("type") == "BertPreTokenizer"
        and all(part["type"] in ("BertNormalizer", "Lowercase") for part in parts)
        and not any(" " in token["content"] for token in state["added_tokens"])
    )
    if not independent:
        return None
    whole = tokenizer.encode("a").ids
    inner = tokenizer.encode("a", add_special_tokens=False).ids
    starts = [start for start in range(len(whole)) if whole[start : start + len(inner)] == inner]
    if len(starts) != 1:
        return None
    return TokenCache(tokenizer, whole[: starts[0]], whole[starts[0] + len(inner) :])
