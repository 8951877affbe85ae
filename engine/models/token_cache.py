"""Token ids of words that were seen before, so that most texts need no tokenizer: a dictionary look-up a word.

Right only where a space always parts a text into words that know nothing of each other, as for BERT's tokenizers
(`between_spaces` decides). A word enters at its second sight: what never comes again (numbers, keys, hashes) costs a
look-up and no more. Everything is bounded, because callers choose the words.
"""

import json
from collections.abc import Sequence

import tokenizers

MAX_WORDS = 32_768
"""Remembered at most, about 6 MB; one more, and all are forgotten. 576 texts of prose have 3,200."""
MAX_WORD_CHARACTERS = 32
"""Longer ones are seldom words."""


class TokenCache:
    """Writes texts from remembered words. Any thread may call it: each step is one operation on a dictionary."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, first: Sequence[int], last: Sequence[int]) -> None:
        """`first` and `last` are the special tokens around a text."""
        self._tokenizer = tokenizer
        self._first = first
        self._last = last
        self._ids: dict[str, Sequence[int]] = {"": ()}
        self._seen_once: set[str] = set()

    def ids(self, text: str) -> list[int] | None:
        """All of the text's token ids, special ones included and not truncated; None if a word is not known."""
        ids = [*self._first]
        known = self._ids
        try:
            for word in text.split(" "):
                ids += known[word]
        except KeyError:
            return None
        ids += self._last
        return ids

    def cut(self, ids: list[int], max_tokens: int) -> list[int]:
        """The ids of a longer text, its end cut off before the last special tokens."""
        return [*ids[: max_tokens - len(self._last)], *self._last]

    def learn(self, text: str) -> None:
        """Notes the text's words that are not known; those that were noted before are known from now on."""
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


def between_spaces(tokenizer: tokenizers.Tokenizer) -> TokenCache | None:
    """For a tokenizer whose words end at every space and are tokenized one by one; None for any other.

    That is WordPiece after BERT's normaliser, which changes single characters, and BERT's pre-tokeniser, which drops
    white space; a word between spaces may still hold other white space, punctuation, or an added token.
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
