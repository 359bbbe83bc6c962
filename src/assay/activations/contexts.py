"""Whole contexts as batches, run through the model when they are needed, for losses that ask what it predicts from reconstructions.

A shard is so many contexts, and a batch is a shard: so the positions of a batch, and all that stands between them, are known, and the
model can be run again with other activations in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from assay.activations.manifest import json_ready
from assay.activations.order import permutation
from assay.activations.plan import kept_rows
from assay.activations.produce import contexts_at, evaluating, rows_kept
from assay.activations.providers import Moments, moments_of
from assay.activations.shard import Shard
from assay.activations.source import Inputs, Source
from assay.errors import ConfigError, ShapeMismatch, StoreError
from assay.sites import Site, capture, replace
from assay.sites.address import unwrapped


class Contexts:
    """A provider of shards of `contexts` contexts each, in a keyed order, and of the KL that reconstructions of one cause.

    Every context gives as many rows as all others, its first ones: the number that makes the most of the source. Contexts with fewer
    rows, and those that fill no shard, are left out. Raises StoreError when none is left.
    """

    def __init__(
        self, model: nn.Module, source: Source, site: Site, contexts: int, seed: int, identity: Mapping[str, Any]
    ) -> None:
        self.model, self.source, self.site = model, source, site
        counts = kept_rows(source)
        falling = counts.sort(descending=True).values
        self.each = int(falling[int((falling * torch.arange(1, len(falling) + 1)).argmax())]) if len(falling) else 0
        order = permutation(len(source), "contexts", seed)
        order = order[counts[order] >= max(self.each, 1)]
        self.shards = order[: len(order) // contexts * contexts].view(-1, contexts)
        if not len(self.shards):
            raise StoreError(
                f"the source has {len(order)} contexts with rows to keep",
                expected=f"{contexts}, which is a batch",
                do="Give more text, or ask for fewer contexts a batch.",
            )
        self.rows = (contexts * self.each,) * len(self.shards)
        self.parts = (self.shard(0).activations.shape[1],)
        self.identity = {
            "kind": "contexts",
            "site": str(site),
            "model": json_ready({"class": type(unwrapped(model)).__name__, **identity}),
            "source": json_ready(source.identity),
            "seed": seed,
            "contexts": contexts,
            "rows_per_context": self.each,
            "width": self.parts[0],
        }
        self._known: tuple[int, Tensor] | None = None

    def shard(self, index: int) -> Shard:
        """From a run of the model up to the site, in float32."""
        inputs = self._inputs(index)
        with evaluating(self.model):
            found = capture(self.model, [self.site], **inputs.arguments)[self.site]
        return Shard(index, rows_kept(self.site, found, inputs).float().cpu(), inputs.origin[inputs.keep.cpu()].int())

    def moments(self) -> Moments:
        return moments_of(self)

    def downstream(self, index: int, order: Int[Tensor, " B"]) -> Callable[[Float[Tensor, "B D"]], Float[Tensor, ""]]:
        """E KL(p || p') of the next token over the rows of a shard, of which `order` says which stands where in the batch.

        p is what the model predicts, p' what it predicts with raw reconstructions in place of the activations. The reconstructions get
        a gradient, the model gets none. Raises ShapeMismatch unless there is a reconstruction for every row.
        """

        def divergence(reconstruction: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
            if len(reconstruction) != len(order):
                raise ShapeMismatch(
                    f"{len(reconstruction)} reconstructions of a batch of {len(order)} rows",
                    expected="one for each, in one process",
                    do="Train without data ranks where a loss asks for the model's predictions.",
                )
            inputs, clean = self._inputs(index), self._clean(index)
            chosen = inputs.keep.flatten().nonzero().view(-1)[order.to(reconstruction.device)]

            def put(x: Tensor) -> Tensor:
                return x.flatten(0, -2).index_copy(0, chosen, reconstruction.to(x.dtype)).view_as(x)

            with replace(self.model, {self.site: put}):
                predicted = self._predicted(inputs)
            share = clean.exp()
            return (share * (clean - predicted)).where(share > 0, 0.0).sum(-1).mean()

        return divergence

    def _inputs(self, index: int) -> Inputs:
        """The contexts of a shard, on the model's device, their first rows kept."""
        inputs = contexts_at(self.source, self.shards[index])
        keep = inputs.keep & (inputs.keep.cumsum(1) <= self.each)
        device = next(chain(self.model.parameters(), self.model.buffers()), keep).device
        arguments = {name: value.to(device) for name, value in inputs.arguments.items()}
        return Inputs(arguments, keep.to(device), inputs.origin)

    def _clean(self, index: int) -> Float[Tensor, "B V"]:
        """What the model predicts at the rows of a shard, as logarithms; of the last shard it is remembered."""
        if self._known is None or self._known[0] != index:
            self._known = None
            with torch.no_grad():
                self._known = index, self._predicted(self._inputs(index))
        return self._known[1]

    def _predicted(self, inputs: Inputs) -> Float[Tensor, "B V"]:
        with evaluating(self.model), frozen(self.model):
            logits = getattr(self.model(**inputs.arguments), "logits", None)
        if logits is None:
            raise ConfigError(
                f"{type(unwrapped(self.model)).__name__} gives no logits",
                expected="a causal language model",
                do="Load it with AutoModelForCausalLM.",
            )
        return _at(logits, inputs.keep).log_softmax(-1)


def _at(logits: Float[Tensor, "C P V"], keep: Bool[Tensor, "C P"]) -> Float[Tensor, "B V"]:
    rows = logits[keep]
    return rows if rows.dtype == torch.float64 else rows.float()


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Inside the block no parameter asks for a gradient, so that a backward pass goes through the model and leaves nothing in it."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
