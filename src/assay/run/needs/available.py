"""How much memory this process holds, and how much a process in its place may hold.

Three things set the bound: what the machine has free, the control groups of a container or a batch system, and the process's own limit
(`ulimit -v`). Linux says all of it in files; elsewhere the size of the machine is all that is known.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

STATUS, MACHINE, GROUPS = Path("/proc/self/status"), Path("/proc/meminfo"), Path("/proc/self/cgroup")
CONTROLLED = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Bytes that a process in the place of this one may hold, those of this one included: the least of `bounds`."""
    return min(bounds().values())


def bounds() -> dict[str, int]:
    """The same by what sets the bound."""
    held, found = resident(), {}
    with suppress(OSError, KeyError):
        found["machine"] = _kibibytes(MACHINE, "MemAvailable") + held
    with suppress(OSError, ValueError):
        found["control group"] = min(_rooms_of_groups()) + held
    with suppress(OSError, KeyError, ImportError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            found["limit of this process"] = max(limit - _kibibytes(STATUS, "VmSize"), 0) + held
    return found or {"machine": _machine()}


def resident(most: bool = False) -> int:
    """Bytes of this process that are in memory (RSS), mapped files included; with `most`, the most that ever were."""
    with suppress(OSError, KeyError):
        return _kibibytes(STATUS, "VmHWM" if most else "VmRSS")
    with suppress(ImportError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 0


def give_back() -> None:
    """Return to the system what was freed, as far as its allocator can."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _rooms_of_groups() -> Iterator[int]:
    """For each control group around this process that has a limit: limit - usage + files that can be dropped from memory."""
    for line in GROUPS.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = CONTROLLED / "memory" if controllers else CONTROLLED
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        inside = root / path.lstrip("/")
        for group in [inside, *inside.parents]:
            if group.is_relative_to(root) and (group / names[0]).is_file():
                with suppress(OSError, ValueError, KeyError):  # "max": this one has no limit
                    yield max(int((group / names[0]).read_text()) - _used(group, names[1]), 0)


def _used(group: Path, usage: str) -> int:
    statistics = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    whole = "total_" if "total_inactive_file" in statistics else ""  # version 1 counts the groups below apart
    files = sum(int(statistics[f"{whole}{which}_file"]) for which in ("active", "inactive"))
    return int((group / usage).read_text()) - files


def _kibibytes(path: Path, field: str) -> int:
    """Bytes of "<field>:  <number> kB". Raises OSError, KeyError."""
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def _machine() -> int:
    """Bytes of memory that the machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize
