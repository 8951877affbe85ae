"""Every error of the operating system is told by what it is; an impossible name is the caller's error."""

import errno
import os
from pathlib import Path

import pytest

from engine.errors import InvalidRequest, ModelError
from engine.host import os_errors
from engine.models.card import read_model_card
from engine.models.resolve import resolve_model


@pytest.mark.parametrize("name", ["m" * 5000, "owner/" + "m" * 300, "é" * 200, "a\0b"])
def test_a_name_that_no_model_can_have_is_refused_without_being_repeated(name: str) -> None:
    with pytest.raises(InvalidRequest, match="hub id") as caught:
        resolve_model(name)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.EMFILE, "ulimit -n"), (errno.EACCES, "permissions"), (errno.EIO, "disk"), (errno.ENFILE, "open files")],
)
@pytest.mark.parametrize("name", ["modules.json", "config.json"])
def test_a_file_that_cannot_be_read_is_told_by_the_reason_and_not_as_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: str, name: str
) -> None:
    (tmp_path / name).write_text("[]" if name == "modules.json" else '{"model_type": "bert"}')
    original = Path.read_text

    def failing(self: Path, *arguments: str) -> str:
        if self.name == name:
            raise OSError(number, os.strerror(number), str(self))
        return original(self, *arguments)

    monkeypatch.setattr(Path, "read_text", failing)
    with pytest.raises(ModelError, match=expected) as caught:
        read_model_card(tmp_path, "a model")
    assert "download the model again" not in str(caught.value)


def test_an_error_without_a_known_step_still_says_what_the_system_says() -> None:
    assert os_errors.describe(OSError(errno.EXDEV, "Invalid cross-device link", "a")) == "a: Invalid cross-device link"
    assert os_errors.describe(OSError()) == "OSError"
