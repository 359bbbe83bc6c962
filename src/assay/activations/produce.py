"""Shards from forward passes: one pass a batch of contexts reads every site that is wanted and stops after the last one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.activations.manifest import DTYPES, Description, Dtype, json_ready
from assay.activations.plan import HarvestPlan
from assay.activations.shard import Shard
from assay.activations.source import Inputs, Source
from assay.errors import ConfigError, Diverged, ShapeMismatch
from assay.sites import Site, capture
from assay.sites.address import unwrapped


@dataclass(frozen=True, eq=False)
class Producer:
    """Makes the shards of a plan. The batch size decides about speed and memory, and about the last bits of the model's arithmetic."""

    model: nn.Module
    source: Source
    plan: HarvestPlan
    dtype: Dtype
    batch_contexts: int
    identity: Mapping[str, Any]
    """What the model is, beyond its class and size."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(
                f"dtype is {self.dtype!r}", expected=f"one of {', '.join(DTYPES)}", do="Choose one of them."
            )
        if self.batch_contexts < 1:
            raise ConfigError(
                f"batch_contexts is {self.batch_contexts}", expected="1 or more", do="16 is a good start."
            )

    def describe(self, site: Site, asked: str, width: int) -> Description:
        """What a store of these shards holds. Raises ConfigError when an identity is not fit for JSON."""
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return Description(
            site=str(site),
            asked=asked,
            model=json_ready(
                {"class": type(unwrapped(self.model)).__name__, "parameters": parameters, **self.identity}
            ),
            source=json_ready(self.source.identity),
            dtype=self.dtype,
            width=width,
            seed=self.plan.seed,
            tokens=self.plan.tokens,
            rows_per_shard=self.plan.rows_per_shard,
            shards=self.plan.rows,
        )

    def widths(self, sites: Sequence[Site]) -> dict[Site, int]:
        """Width D of each site, learnt from one context. Raises ShapeMismatch."""
        inputs = contexts_at(self.source, self.plan.contexts[:1])
        with evaluating(self.model):
            return {site: rows.shape[1] for site, rows in self._forward(inputs, sites).items()}

    def shards(
        self, index: int, sites: Sequence[Site], tick: Callable[[int], None] = lambda rows: None
    ) -> dict[Site, Shard]:
        """Shard `index` of every site; `tick` is told the rows done after each batch. Raises Diverged, ShapeMismatch."""
        rows, places, done = self.plan.rows[index], self.plan.rows_of(index), 0
        origin = torch.empty(rows, 2, dtype=torch.int32)
        held: dict[Site, Tensor] = {}
        with evaluating(self.model):
            for contexts in self.plan.contexts_of(index).split(self.batch_contexts):
                inputs = contexts_at(self.source, contexts)
                kept = inputs.origin[inputs.keep][: rows - done].int()
                place = places[done : done + len(kept)]
                origin[place] = kept
                for site, activations in self._forward(inputs, sites).items():
                    activations = activations[: len(kept)]
                    stored = activations.to(DTYPES[self.dtype]).cpu()
                    if not torch.isfinite(stored).all():
                        raise _not_finite(site, activations.cpu(), stored, kept)
                    if site not in held:
                        held[site] = torch.empty(rows, stored.shape[1], dtype=stored.dtype)
                    held[site][place] = stored
                done += len(kept)
                tick(done)
        return {site: Shard(index, activations, origin) for site, activations in held.items()}

    def _forward(self, inputs: Inputs, sites: Sequence[Site]) -> dict[Site, Float[Tensor, "N D"]]:
        device = next(chain(self.model.parameters(), self.model.buffers()), inputs.keep).device
        arguments = {name: value.to(device) for name, value in inputs.arguments.items()}
        found = capture(self.model, sites, **arguments)
        return {site: rows_kept(site, found[site], inputs) for site in sites}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout and the like off for a while."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def contexts_at(source: Source, contexts: Int[Tensor, " C"]) -> Inputs:
    """Contexts of a source, wherever they are."""
    parts = [source.inputs(context, context + 1) for context in contexts.tolist()]
    arguments = {name: torch.cat([part.arguments[name] for part in parts]) for name in parts[0].arguments}
    return Inputs(arguments, torch.cat([part.keep for part in parts]), torch.cat([part.origin for part in parts]))


def rows_kept(site: Site, activations: Tensor, inputs: Inputs) -> Float[Tensor, "N D"]:
    """The rows of a site's tensor [B ... D] that are kept. Raises ShapeMismatch."""
    contexts, positions = inputs.keep.shape
    if (
        activations.ndim < 2
        or len(activations) != contexts
        or activations[0].numel() != positions * activations.shape[-1]
    ):
        raise ShapeMismatch(
            f"{site} gives {list(activations.shape)} for {contexts} contexts of {positions} positions",
            expected=f"[{contexts} {positions} D], or [{contexts} ... D] with {positions} positions between",
            do="Give the source that many positions, TensorSource(positions=...), or choose another site.",
        )
    return activations.flatten(0, -2)[inputs.keep.flatten().to(activations.device)]


def _not_finite(site: Site, activations: Tensor, stored: Tensor, origin: Int[Tensor, "N 2"]) -> Diverged:
    row = int((~torch.isfinite(stored).all(1)).nonzero()[0])
    where = f"{site}, document {int(origin[row, 0])}, position {int(origin[row, 1])}"
    largest = activations[row].abs().max()
    if torch.isfinite(largest):
        limit = torch.finfo(stored.dtype).max
        return Diverged(
            f"an activation at {where} is {largest:.6g}, too large for {str(stored.dtype).removeprefix('torch.')}",
            expected=f"at most {limit:.6g}",
            do='Harvest with dtype="bfloat16".',
        )
    return Diverged(
        f"an activation at {where} is NaN or infinite", expected="finite activations", do="Check the model's weights."
    )
