"""Every error that a user can meet, and the exit code it becomes on the command line.

    AssayError                1   a mistake that the user can mend
    ├── ConfigError           1   a setting is unknown, missing or out of range
    ├── UnknownName           1   nothing registered goes by that name
    ├── ShapeMismatch         1   a tensor has the wrong shape for this dictionary or store
    ├── SiteNotFound          1   the model has no such site
    ├── MissingMaterial       1   a model, a text or a file is not where it was looked for
    ├── StoreError            1   an activation store cannot be used the way it was asked
    ├── CorruptData           3   bytes on disk are not what was written
    ├── Diverged              4   NaN or infinity appeared
    ├── OutOfDisk             5   the disk is full
    ├── OutOfMemory           6   the machine's memory is not enough
    └── Interrupted          75   stopped by a signal; run the same command again to go on
        └── RankLost         75   another process of the same training stopped, or did not answer in time

Usage errors (an unknown verb or flag) exit with 2. Every message has three parts: what was got, what was expected, what to do.
"""

from __future__ import annotations

import errno
import reprlib
from typing import Any, ClassVar


class AssayError(Exception):
    """Base of all errors raised on purpose; `str(error)` reads "<got>; expected <expected>. <do>"."""

    exit_code: ClassVar[int] = 1

    def __init__(self, got: str, *, expected: str, do: str) -> None:
        self.got, self.expected, self.do = got, expected, do
        super().__init__(f"{got}; expected {expected}. {do}")

    def __reduce__(self) -> tuple:
        return _rebuild, (type(self), self.got, self.expected, self.do)


def _rebuild(kind: type[AssayError], got: str, expected: str, do: str) -> AssayError:
    return kind(got, expected=expected, do=do)


class ConfigError(AssayError):
    """A setting is unknown, missing or out of range."""


class UnknownName(AssayError):
    """Nothing registered goes by that name."""


class ShapeMismatch(AssayError):
    """A tensor has the wrong shape."""


class SiteNotFound(AssayError):
    """The model has no such site."""


class MissingMaterial(AssayError):
    """A model, a text or a file is not where it was looked for."""


class StoreError(AssayError):
    """An activation store cannot be used the way it was asked."""


class CorruptData(AssayError):
    """Bytes on disk are not what was written."""

    exit_code = 3


class Diverged(AssayError):
    """NaN or infinity appeared in activations, losses or parameters, or ranks that must hold the same numbers do not."""

    exit_code = 4


class OutOfDisk(AssayError):
    """The disk is full."""

    exit_code = 5


class OutOfMemory(AssayError):
    """The machine's memory is not enough."""

    exit_code = 6


class Interrupted(AssayError):
    """Stopped by a signal after saving; the same command goes on from there."""

    exit_code = 75


class RankLost(Interrupted):
    """Another process of the same training stopped or did not answer in time; the same command goes on from the last checkpoint."""


LONGEST_SHOWN = 200
"""Letters of a value in a message."""


class _Brief(reprlib.Repr):
    """`repr` that takes neither long nor deep, and that no value can make fail."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 160
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple = 2, 4, 4, 4

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() <= 256 else f"a number of {x.bit_length():,} bits"


_BRIEF = _Brief()


def shown(value: Any) -> str:
    """A value as an error shows it: its `repr`, shortened so that a message stays one that can be read."""
    text = _BRIEF.repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


MEMORY_WORDS = ("not enough memory", "out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")
"""What PyTorch, C++, safetensors and the system say of an allocation that failed."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python or of a library means that memory was not enough."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return not isinstance(error, AssayError) and any(words in str(error).lower() for words in MEMORY_WORDS)
