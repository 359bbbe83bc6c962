"""Between a verb and the shell: every error of a place is a sentence, and no message can move the cursor."""

from __future__ import annotations

import errno
import os

import pytest

from assay.cli import main
from assay.cli.guard import run_guarded
from assay.errors import ConfigError


@pytest.mark.parametrize(
    "number", [errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.EINVAL]
)
def test_a_place_that_cannot_be_used_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str], number: int) -> None:
    def verb() -> int:
        raise OSError(number, os.strerror(number), "runs/a")

    assert run_guarded(verb, [], "assay x", "x") == 1
    assert f"runs/a cannot be used ({os.strerror(number)})" in capsys.readouterr().err


def test_an_error_without_a_place_is_a_defect_of_ours() -> None:
    def verb() -> int:
        raise OSError("what?")

    with pytest.raises(OSError, match="what"):
        run_guarded(verb, [], "assay x", "x")


def test_control_characters_are_spelt_out(capsys: pytest.CaptureFixture[str]) -> None:
    def verb() -> int:
        raise ConfigError("a\x1b[31mb\u202e\ud800é\nline", expected="c", do="d")

    assert run_guarded(verb, [], "assay x", "x") == 1
    assert capsys.readouterr().err == "error: a\\x1b[31mb\\u202e\\ud800é\nline; expected c. d\n"


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 2000, "~nobody-here", "\ud800", ".", "/dev/null"])
@pytest.mark.parametrize("verb", ["train", "verify", "report"])
def test_a_run_that_no_file_can_be_is_a_mistake_that_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch: pytest.MonkeyPatch, verb: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([verb, name]) == 1
    assert "expected" in capsys.readouterr().err
