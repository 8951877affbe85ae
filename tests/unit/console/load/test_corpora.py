"""Corpora: seeded, varied, of the promised lengths; files refused with a reason that never quotes them."""

from pathlib import Path

import pytest

from console.load.corpora import GENERATED_CORPORA, CorpusError, load_corpus


@pytest.mark.parametrize("name", GENERATED_CORPORA)
def test_the_same_seed_gives_the_same_texts_and_another_seed_others(name: str) -> None:
    assert load_corpus(name, 3) == load_corpus(name, 3)
    assert load_corpus(name, 3).texts != load_corpus(name, 4).texts


@pytest.mark.parametrize(("name", "fewest", "most"), [("short", 5, 12), ("mixed", 3, 60), ("long", 100, 250)])
def test_lengths_are_as_promised_and_use_the_whole_range(name: str, fewest: int, most: int) -> None:
    lengths = [len(text.split()) for text in load_corpus(name).texts]
    assert min(lengths) >= fewest
    assert max(lengths) <= most
    assert max(lengths) - min(lengths) > 0.8 * (most - fewest)


@pytest.mark.parametrize("name", GENERATED_CORPORA)
def test_there_are_a_thousand_texts_and_hardly_two_alike(name: str) -> None:
    texts = load_corpus(name).texts
    assert len(texts) >= 1000
    assert len(set(texts)) > 0.98 * len(texts)
    assert len({word for text in texts for word in text.lower().split()}) > 400


def test_a_file_is_one_text_a_line_without_blank_ones_or_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufefferste Zeile\r\n\n   \nzweite\n".encode())
    assert load_corpus(str(path)).texts == ("erste Zeile", "zweite")


def test_a_file_that_is_not_utf8_is_refused_with_offset_and_line(tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes(b"secret one\nsecret caf\xe9\n")
    with pytest.raises(CorpusError, match="offset 21, line 2") as refused:
        load_corpus(str(path))
    assert "secret" not in str(refused.value)


def test_an_empty_file_a_folder_and_a_missing_one_each_say_what_to_give(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n  \n")
    for path, expected in (
        (empty, "has no text: give one text a line"),
        (tmp_path, "is a folder: give a text file"),
        (tmp_path / "none.txt", "not one of short, mixed, long"),
    ):
        with pytest.raises(CorpusError, match=expected):
            load_corpus(str(path))


def test_a_line_over_the_limit_is_reported_by_number_and_size_and_never_quoted(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("short\n" + "quotable " * 1000)
    with pytest.raises(CorpusError, match="line 2: 8,999 bytes, over the limit of 1,024 bytes") as refused:
        load_corpus(str(path), max_text_bytes=1024)
    assert "quotable" not in str(refused.value)
