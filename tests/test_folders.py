"""Where the cache is, and what lies at a path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assay.errors import ConfigError
from assay.folders import cache_folder, expanded, is_file, is_folder


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("ASSAY_CACHE", "~nobody-here/cache")
    with pytest.raises(ConfigError, match="nobody"):
        cache_folder()


def test_a_tilde_is_the_home_of_its_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/a") == tmp_path / "a"
    assert expanded("./~a") == Path("./~a")


@pytest.mark.parametrize("path", ["~nobody-here", "~\0", "~\ud800"])
def test_the_home_of_nobody_is_a_config_error(path):
    with pytest.raises(ConfigError, match="home folder of nobody"):
        expanded(path)


def test_files_and_folders_and_links_to_them_are_told_apart(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name in ("file", "folder"):
        (tmp_path / f"link-{name}").symlink_to(tmp_path / name)
        assert is_file(tmp_path / f"link-{name}") == is_file(tmp_path / name) == (name == "file")
        assert is_folder(tmp_path / f"link-{name}") == is_folder(tmp_path / name) == (name == "folder")


def test_a_pipe_a_device_and_a_broken_link_are_neither(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path / "broken", tmp_path / "round", tmp_path / "none"):
        assert not is_file(path)
        assert not is_folder(path)


@pytest.mark.parametrize("name", ["a\0b", "a" * 300, "a/" * 4000, "\ud800"])
def test_a_name_that_no_file_can_have_is_neither(tmp_path, name):
    assert not is_file(tmp_path / name)
    assert not is_folder(tmp_path / name)


def test_what_may_not_be_looked_at_is_an_error(monkeypatch, tmp_path):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(PermissionError):
        is_file(tmp_path)
