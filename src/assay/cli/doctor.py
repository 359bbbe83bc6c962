"""assay doctor: what this machine has, and whether assay can run on it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from assay.cli.arguments import Switch, print_json
from assay.materials import CATALOGUE, cache_folder, is_fetched
from assay.ops.path import chosen
from assay.record import machine
from assay.run.needs.available import available_memory
from assay.run.needs.pace import product_rates


def run(json: Switch = False) -> int:
    """Look the machine over; exits with 1 when something that assay needs is missing.

    Args:
        json: Print as JSON.
    """
    facts, faults = examine()
    if json:
        print_json({"facts": facts, "faults": faults})
    else:
        for name, value in facts.items():
            print(f"{name:<22} {value}")
        print("\n".join(f"fault: {fault}" for fault in faults) or "no faults")
    return 1 if faults else 0


def examine() -> tuple[dict[str, Any], list[str]]:
    """(facts, faults)."""
    cache = cache_folder()
    facts: dict[str, Any] = {"machine": machine()}
    faults: list[str] = []
    facts["accelerator"] = (
        torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none; kernels run on the CPU"
    )
    facts["memory free"] = f"{available_memory() / 2**30:.1f} GiB"
    facts["encoder product"] = "; ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in product_rates().items())
    facts["operations"] = f"{chosen(torch.empty(0))} on this CPU; ASSAY_OPS names another"
    try:
        facts["cache"] = (
            f"{cache}, {shutil.disk_usage(_existing(cache)).free / 2**30:.0f} GiB free, {_write_speed(cache):.0f} MiB/s synced"
        )
    except OSError as error:
        faults.append(f"the cache folder {cache} cannot be written ({error.strerror}); set ASSAY_CACHE to one that can")
    for extra, modules in {"models": ("transformers", "gguf")}.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        facts[f"extra [{extra}]"] = (
            "installed" if not missing else f"missing {', '.join(missing)}: pip install 'assay[{extra}]'"
        )
    for name in CATALOGUE:
        facts[f"material {name}"] = "here" if is_fetched(name) else f"not fetched: assay materials {name}"
    if tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) < (2, 10):
        faults.append(f"torch {torch.__version__} is older than 2.10; expected a newer one. pip install -U torch")
    return facts, faults


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _write_speed(folder: Path, size: int = 16 << 20) -> float:
    """MiB a second for one synced write."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe{os.getpid()}"
    started = time.perf_counter()
    try:
        with open(probe, "wb") as file:
            file.write(b"\0" * size)
            file.flush()
            os.fsync(file.fileno())
    finally:
        probe.unlink(missing_ok=True)
    return size / 2**20 / (time.perf_counter() - started)
