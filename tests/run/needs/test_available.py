"""How much memory there may be: the least of the machine's, the control groups' and the process's own limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from assay.run.needs import available
from assay.run.needs.available import available_memory, bounds, resident

GIB = 1 << 30


def test_what_is_resident_grows_with_what_is_touched() -> None:
    before = resident()
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    assert resident() - before > 60 << 20
    assert resident(most=True) >= resident()


def test_the_least_bound_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available, "bounds", lambda: {"machine": 5, "control group": 3})
    assert available_memory() == 3
    assert bounds()["machine"] > resident()


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


@pytest.mark.parametrize("version", [1, 2])
def test_the_tightest_control_group_above_this_process_counts(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "4:memory:/outer/inner\n0::/\n" if version == 1 else "0::/outer/inner\n"
    (tmp_path / "cgroup").write_text(line)
    root = tmp_path / "memory" if version == 1 else tmp_path
    limit, used = (
        ("memory__limit_in_bytes", "memory__usage_in_bytes") if version == 1 else ("memory__max", "memory__current")
    )
    whole = "total_" if version == 1 else ""
    files = f"{whole}inactive_file {GIB // 4}\n{whole}active_file {GIB // 4}\n"
    group(root / "outer", memory__stat=files, **{limit: str(3 * GIB), used: str(2 * GIB)})
    group(
        root / "outer" / "inner",
        memory__stat=files,
        **{limit: "max" if version == 2 else str(2**63 - 4096), used: str(GIB)},
    )
    monkeypatch.setattr(available, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(available, "CONTROLLED", tmp_path)
    monkeypatch.setattr(available, "resident", lambda most=False: 7)
    assert bounds()["control group"] == 3 * GIB - (2 * GIB - GIB // 2) + 7


def test_without_control_groups_there_is_no_such_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available, "GROUPS", tmp_path / "none")
    assert "control group" not in bounds()


def test_where_linux_says_nothing_the_size_of_the_machine_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STATUS", "MACHINE", "GROUPS"):
        monkeypatch.setattr(available, name, tmp_path / "none")
    assert resident() > 0
    assert set(bounds()) == {"machine"}
    assert available_memory() > GIB // 4


def test_the_limit_of_the_process_counts() -> None:
    probe = (
        "import resource; from assay.run.needs.available import bounds; from assay.run.needs.available import STATUS, _kibibytes; "
        "limit = _kibibytes(STATUS, 'VmSize') + (100 << 20); resource.setrlimit(resource.RLIMIT_AS, (limit, limit)); "
        "found = bounds(); print(found['limit of this process'] <= (100 << 20) + _kibibytes(STATUS, 'VmRSS') <= found['machine'])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
