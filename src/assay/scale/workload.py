"""What is planned, and what is assumed of the machines. Every assumption is a field, so none is hidden in a formula."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from assay.errors import ConfigError

BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
SHARES = ("depth", "state_share")


@dataclass(frozen=True)
class Workload:
    """A harvest of T rows at each of s sites of a model, and one Gated dictionary trained on the rows of one of them.

    Counts may be written as 1e10. Raises ConfigError when one is not a positive number.
    """

    tokens: float = 1e10
    """T: rows of activations to harvest at a site."""
    latents: float = 1e6
    """m: width of the dictionary."""
    d: float = 4096
    """d: width of the activations."""
    sites: float = 1
    """s: sites that one harvest reads, layers for instance."""
    dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    """Of the activations on disk, b bytes each."""
    active: float = 60
    """k: active latents a row (L0)."""
    batch: float = 4096
    """B: rows a step, over all GPUs."""
    epochs: float = 1
    """e: passes over the rows in training."""
    parameters: float = 8e9
    """P: parameters of the model that is harvested, in 16 bits."""
    depth: float = 0.5
    """q: share of the model that runs below the last site, which is where a forward pass stops."""
    rows_per_shard: float = 65_536
    """R: rows of a shard file."""
    gpus: float = 8
    """G: GPUs at hand; a training whose state needs more takes as many as that."""
    flops_per_second: float = 2e14
    """F: operations a second that a GPU achieves, in the model and in the dictionary. Measure yours."""
    tokens_per_second: float | None = None
    """Tokens a second that a GPU harvests, where you have measured it; else F / (2 P q)."""
    rows_per_second: float | None = None
    """Rows a second that a GPU trains on, where you have measured it; else F / (2 d (m + 6 k))."""
    gpu_memory: float = 80e9
    """M: bytes of memory of a GPU."""
    state_share: float = 0.5
    """u: share of it for weights and moments; the rest is for batches, supports and what is lost between blocks."""
    write_rate: float = 1e9
    """W: bytes a second that each GPU writes to storage."""
    failure_hours: float = 50_000
    """f: hours between failures of one GPU and what it hangs on."""
    dead_window: float = 1e7
    """D: tokens of silence after which a latent counts as dead."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            limit = 1.0 if field.name in SHARES else math.inf
            if isinstance(value, int | float) and not (0 < value <= limit and math.isfinite(value)):
                raise ConfigError(
                    f"{field.name} = {value:g}",
                    expected="a share in (0, 1]" if field.name in SHARES else "a positive number",
                    do=f"For example {field.name} = {field.default:g}."
                    if field.default
                    else "Leave it out, or measure it.",
                )

    @property
    def bytes_each(self) -> int:
        """b: bytes of one entry on disk."""
        return BYTES[self.dtype]
