"""Errors say what was got, what was expected and what to do, and become the exit code that is documented."""

from __future__ import annotations

import copy
import pickle

import pytest

from assay import errors
from assay.errors import LONGEST_SHOWN, AssayError, shown

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AssayError)]
CODES = {"CorruptData": 3, "Diverged": 4, "OutOfDisk": 5, "OutOfMemory": 6, "Interrupted": 75, "RankLost": 75}


@pytest.mark.parametrize("kind", KINDS)
def test_exit_codes_are_those_of_the_documented_tree(kind):
    assert kind.exit_code == CODES.get(kind.__name__, 1)
    (line,) = [line for line in (errors.__doc__ or "").splitlines() if f" {kind.__name__} " in line]
    assert line.split(kind.__name__)[1].split()[0] == str(kind.exit_code)


@pytest.mark.parametrize("kind", KINDS)
def test_messages_have_three_parts(kind):
    error = kind("got 3", expected="4", do="Add one.")
    assert str(error) == "got 3; expected 4. Add one."
    assert (error.got, error.expected, error.do) == ("got 3", "4", "Add one.")


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_cannot_be_left_out(kind):
    with pytest.raises(TypeError):
        kind("got 3")


@pytest.mark.unpickles
def test_errors_travel_between_processes():
    error = errors.CorruptData("got", expected="expected", do="do")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert type(again) is errors.CorruptData
        assert str(again) == str(error)
        assert again.do == "do"


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, [["y" * 500] * 50] * 50, {"a" * 500: {"b": [1]}}, 1 << 10**6, -(1 << 10**6), [1 << 10**6], 1e300],
    ids=lambda value: type(value).__name__,
)
def test_any_value_is_shown_in_a_line(value):
    assert 0 < len(shown(value)) <= LONGEST_SHOWN


def test_what_is_short_is_shown_as_it_is():
    for value in (1, -2.5, "a\n", True, None, [1, "a"], {"a": 1}, 2**63):
        assert shown(value) == repr(value)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to allocate"
        ),
        RuntimeError("unable to mmap 6480 bytes from file </x>: Cannot allocate memory (12)"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_an_allocation_that_failed_is_known_by_what_it_says(error):
    assert errors.ran_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2"),
        OSError(28, "No space left"),
        errors.ConfigError("out of memory", expected="", do=""),
    ],
)
def test_other_errors_are_not_taken_for_it(error):
    assert not errors.ran_out_of_memory(error)
