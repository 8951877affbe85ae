"""Calibration and evaluation texts are prose, always the same, and have no text in common."""

from pathlib import Path

import pytest

from engine.artifacts.calibration import (
    CALIBRATION_TEXTS,
    calibration_from,
    calibration_of,
    default_calibration,
    evaluation_texts,
)
from engine.errors import InvalidRequest


def test_the_default_calibration_is_300_different_sentences_with_a_hash_of_their_content() -> None:
    calibration = default_calibration()
    assert len(set(calibration.texts)) == CALIBRATION_TEXTS
    assert all(text[0].isupper() and text[-1] in ".!?" for text in calibration.texts)
    assert calibration == calibration_of(calibration.texts)
    assert calibration.hash != calibration_of(calibration.texts[1:]).hash


def test_no_calibration_text_is_an_evaluation_text_or_part_of_one() -> None:
    evaluation = "\n".join(evaluation_texts())
    assert not [text for text in default_calibration().texts if text in evaluation]


def test_evaluation_texts_are_at_least_512_and_of_every_length() -> None:
    texts = evaluation_texts()
    assert len(set(texts)) == len(texts) >= 512
    words = sorted(len(text.split()) for text in texts)
    quarter = len(words) // 4
    assert words[quarter - 1] <= 8
    assert words[-quarter] >= 31


def test_markup_and_code_are_stripped() -> None:
    everything = " ".join((*default_calibration().texts, *evaluation_texts()))
    assert not [mark for mark in ("**", "::=", ">>>", "__", "\n", "{", '"') if mark in everything]


def test_the_texts_of_a_users_file_do_not_depend_on_the_order_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    lines = [f"Customer number {number} asked about an invoice." for number in range(400)]
    file.write_text("\n".join(lines) + "\n\n")
    first = calibration_from(file)
    assert set(first.texts) < set(lines)
    assert len(first.texts) == CALIBRATION_TEXTS
    file.write_text("\n".join(reversed(lines)))
    assert calibration_from(file) == first


def test_an_unusable_calibration_file_is_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        calibration_from(tmp_path / "missing.txt")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        calibration_from(tmp_path)
    few = tmp_path / "few.txt"
    few.write_text("one\none\ntwo\n")
    with pytest.raises(InvalidRequest, match=r"2 different texts.*at least 32"):
        calibration_from(few)
    few.write_bytes(b"\xff\xfe\x00" * 50)
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        calibration_from(few)
