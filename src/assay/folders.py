"""Where assay keeps what it can make or fetch again, outside every repository; and what lies at a path that somebody named."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from assay.errors import ConfigError, shown


def cache_folder() -> Path:
    """The environment variable ASSAY_CACHE, else the user's cache folder of this system. Raises ConfigError."""
    import platformdirs

    chosen = os.environ.get("ASSAY_CACHE")
    return expanded(chosen) if chosen else Path(platformdirs.user_cache_dir("assay"))


def expanded(path: str | Path) -> Path:
    """The path with a leading ~ replaced by that user's home folder. Raises ConfigError when there is no such user."""
    text = os.fspath(path)
    with suppress(ValueError):  # a zero byte, or half a letter
        text = os.path.expanduser(text)  # Path("~/a").expanduser() would take "./~a" for "~a"
    if text.startswith("~"):
        raise ConfigError(
            f"{shown(text)} begins with the home folder of nobody here",
            expected="a path",
            do="Write the folder out, or put ./ before a name that begins with ~.",
        )
    return Path(text)


def is_file(path: Path) -> bool:
    """Whether a regular file lies there, or a link to one: not a pipe or a device, which may never end."""
    return _is(path, stat.S_ISREG)


def is_folder(path: Path) -> bool:
    """Whether a folder lies there, or a link to one."""
    return _is(path, stat.S_ISDIR)


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    """False too where no file of this system can have such a path. Raises PermissionError."""
    try:
        return kind(path.stat().st_mode)
    except ValueError:  # a zero byte, or letters that the file system cannot spell
        return False
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
            return False
        raise
