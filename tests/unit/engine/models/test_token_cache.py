"""Texts of cached words get the same token ids as from the tokenizer."""

import random
from pathlib import Path

import pytest
import tokenizers

from engine.models.resolve import resolve_model
from engine.models.token_cache import MAX_WORD_CHARACTERS, MAX_WORDS, TokenCache, token_cache_for
from engine.models.tokenizer import (
    MAX_INLINE_CACHED_CHARACTERS,
    MAX_INLINE_CHARACTERS,
    PendingTexts,
    Tokenizer,
    tokenizer_path,
)
from tests.support.tiny_models import build_tiny_mpnet, build_tiny_mpnet_or_xlmr

PIECES = [
    "the", "The", "naïve", "café", "cafe\u0301", "\u0301", "don't", "e-mail,", "C++?", "東京", "漢字kanji", "ΣΑΣ",
    "ẞtraße", "İstanbul", "[SEP]", "[MASK]x", "x[CLS]", "[", "\t", "a\tb", "\n", "\u00a0", "a\u00a0b", "\u2003",
    "\u200b", "\x00",
    "\ufffd", "\u1e9b\u0323", "\u00b4", "🙂", "12,345.67", "", "", "ﬁ", "w" * 40, "supercalifragilistic", "…",
    "\u3000", "\x1c",
]  # fmt: skip


@pytest.fixture(scope="module")
def rust() -> tokenizers.Tokenizer:
    """The library's tokenizer of the bundled model, with the engine's settings."""
    files = resolve_model(None)
    tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer_path(files)))
    tokenizer.no_padding()
    tokenizer.enable_truncation(files.card.max_tokens)
    return tokenizer


@pytest.fixture
def words(rust: tokenizers.Tokenizer) -> TokenCache:
    found = token_cache_for(rust)
    assert found is not None
    return found


def test_texts_of_cached_words_get_the_ids_of_the_tokenizer(rust: tokenizers.Tokenizer, words: TokenCache) -> None:
    chance = random.Random(7)  # noqa: S311 - seeded, so that failures are reproducible
    known = 0
    for _ in range(3_000):
        text = " ".join(chance.choices(PIECES, k=chance.randint(1, 8)))
        if (ids := words.ids(text)) is not None:
            assert ids == rust.encode(text).ids, repr(text)
            known += 1
        words.learn(text)
    assert known > 1_500


def test_random_characters_get_the_ids_of_the_tokenizer(rust: tokenizers.Tokenizer, words: TokenCache) -> None:
    chance = random.Random(8)  # noqa: S311 - seeded, so that failures are reproducible
    planes = [
        (0x20, 0x7F),
        (0x00, 0x20),
        (0xA0, 0x250),
        (0x300, 0x370),
        (0x370, 0x600),
        (0x2000, 0x2070),
        (0x4E00, 0x4E20),
    ]
    for _ in range(1_000):
        text = "".join(chr(chance.randrange(*chance.choice(planes))) for _ in range(20)).replace("x", " ")
        words.learn(text)
        words.learn(text)
        if (ids := words.ids(text)) is not None:
            assert ids == rust.encode(text).ids, repr(text)


def test_a_word_is_cached_at_its_second_occurrence(words: TokenCache) -> None:
    words.learn("once")
    assert words.ids("once") is None
    words.learn("once more")
    assert words.ids("once") is not None
    assert words.ids("once more") is None


def test_long_words_are_never_cached_and_too_many_words_clear_the_cache(words: TokenCache) -> None:
    long = "x" * (MAX_WORD_CHARACTERS + 1)
    for _ in range(3):
        words.learn(long)
    assert words.ids(long) is None
    for number in range(MAX_WORDS + 5):
        words.learn(f"{number} {number}")
    assert words.ids("1") is None
    assert words.ids(str(MAX_WORDS + 4)) is not None


def test_a_long_text_of_cached_words_is_truncated_and_marked() -> None:
    tokenizer = Tokenizer.load(resolve_model(None))
    texts = ["so " * count for count in (253, 254, 255, 700)]
    spelled = [Tokenizer.load(resolve_model(None)).encode([text])[0] for text in texts]
    tokenizer.encode(["so so"])
    assert tokenizer.encode_inline(texts, "", MAX_INLINE_CHARACTERS + 1) == spelled == tokenizer.encode(texts)
    assert [one.truncated for one in spelled] == [False, False, True, True]


@pytest.mark.parametrize("builder", [build_tiny_mpnet_or_xlmr])
def test_a_tokenizer_whose_words_depend_on_each_other_has_no_cache(builder: object, tmp_path: Path) -> None:
    assert callable(builder)
    files = resolve_model(str(builder(tmp_path)))
    assert token_cache_for(tokenizers.Tokenizer.from_file(str(tokenizer_path(files)))) is None
    tokenizer = Tokenizer.load(files)
    for _ in range(3):
        tokenizer.encode(["hello there"])
    assert isinstance(tokenizer.encode_inline(["hello there"], "", MAX_INLINE_CHARACTERS + 1), PendingTexts)


def test_a_prompt_is_part_of_the_text() -> None:
    tokenizer = Tokenizer.load(resolve_model(None))
    expected = tokenizer.encode(["some words"], prompt="query:")
    for _ in range(2):
        tokenizer.encode(["query:some words"])
    assert tokenizer.encode_inline(["some words"], "query:", MAX_INLINE_CHARACTERS + 1) == expected


def test_a_tokenizer_that_splits_at_spaces_has_a_cache(tmp_path: Path) -> None:
    files = resolve_model(str(build_tiny_mpnet(tmp_path)))
    path = tokenizer_path(files)
    words = token_cache_for(tokenizers.Tokenizer.from_file(str(path)))
    assert words is None or words.ids("") == tokenizers.Tokenizer.from_file(str(path)).encode("").ids


@pytest.mark.parametrize(
    ("characters", "looked_up"),
    [(MAX_INLINE_CHARACTERS, None), (MAX_INLINE_CHARACTERS + 1, 2), (MAX_INLINE_CACHED_CHARACTERS + 1, 0)],
    ids=["a short request", "a longer one with an unknown word", "a long one"],
)
def test_a_request_is_tokenized_inline_if_that_is_fast_and_else_in_a_thread(
    characters: int, looked_up: int | None
) -> None:
    tokenizer = Tokenizer.load(resolve_model(None))
    texts = ["known words", "unknown words", "known words"]
    expected = Tokenizer.load(resolve_model(None)).encode(texts)
    for _ in range(2):
        tokenizer.encode(["known words"])
    pending = tokenizer.encode_inline(texts, "", characters)
    if looked_up is None:
        assert pending == expected
        return
    assert isinstance(pending, PendingTexts)
    assert len(pending.cached) == looked_up
    assert tokenizer.finish(pending) == expected


def test_no_text_is_looked_up_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer.load(resolve_model(None))
    looked_up = list[str]()
    ids = TokenCache.ids

    def noted(cache: TokenCache, text: str) -> list[int] | None:
        looked_up.append(text)
        return ids(cache, text)

    monkeypatch.setattr(TokenCache, "ids", noted)
    texts = [f"text {number}" for number in range(4)]
    pending = tokenizer.encode_inline(texts, "", MAX_INLINE_CHARACTERS + 1)
    assert isinstance(pending, PendingTexts)
    tokenizer.finish(pending)
    assert looked_up == texts
