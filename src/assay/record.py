"""A record is one measured dictionary: its numbers, and all that is needed to measure them again. Reports print nothing else."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import AfterValidator

from assay import __version__
from assay.config import Config

LARGEST, SMALLEST = 1e100, 1e-100


def _of_a_size_to_show(value: float) -> float:
    if abs(value) > LARGEST:
        raise ValueError(f"at most {LARGEST:g} in size")
    return value if abs(value) >= SMALLEST else 0.0


Number = Annotated[float, AfterValidator(_of_a_size_to_show)]
"""A number that tables and charts can show: at most 1e100 in size, and zero below 1e-100."""


class Record(Config):
    """The numbers of one dictionary on one set of held-out tokens."""

    arm: str
    """Name of the dictionary in its run."""
    variant: str
    """Registered name of its kind."""
    dial: Number
    """Where its sparsity knob stood."""
    seed: int
    """Seed of its initial atoms."""
    width: int
    """Latents."""
    tokens: int
    """Held-out tokens that the numbers are from."""
    config_digest: str
    """xxh3-128 of its settings."""
    values: dict[str, Number | None]
    """Number of each metric by name; None where it is not defined."""
    assay: str = __version__
    """Version that measured."""
    machine: str = ""
    """Processor, threads and PyTorch version that measured."""

    def row(self) -> dict[str, Any]:
        """Everything in one flat table row."""
        identity = self.resolved()
        return {**identity.pop("values"), **identity}

    @classmethod
    def unflattened(cls, row: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a record from its row: what is no field of a record is one of its values."""
        own = {key: value for key, value in row.items() if key in cls.model_fields}
        return {**own, "values": {key: value for key, value in row.items() if key not in own}}


class Outcome(Config):
    """What a task found of one dictionary."""

    task: str
    """Registered name of the task."""
    arm: str
    """Name of the dictionary in its run."""
    inputs: str
    """Digest of the task's settings, the dictionary, the model and the text."""
    scores: dict[str, Number | None]
    """By name; None where it is not defined. Empty where the task is not applicable."""
    items: dict[str, tuple[Number | None, ...]] = {}
    """Values of single texts or letters, of scores that are their means: a comparison draws the same ones for both sides. None where
    one has no value for this dictionary."""
    own: dict[str, tuple[Number, ...]] = {}
    """Values of single latents, of scores that are their means: a comparison draws each side's apart."""
    not_applicable: str = ""
    """Why there are no scores: what the task takes for granted, and what was found."""
    details: dict[str, Any] = {}
    """What else the task tells."""
    seconds: Number = 0.0
    """What it took, without what all dictionaries share."""
    assay: str = __version__
    """Version that measured."""
    machine: str = ""
    """Processor, threads and PyTorch version that measured."""


def machine() -> str:
    """Processor, threads and PyTorch version, in a line without names of hosts or users."""
    cpu = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    threads = torch.get_num_threads()
    return f"{cpu}, {os.cpu_count()} cores, {threads} threads, torch {torch.__version__}, Python {platform.python_version()}"
