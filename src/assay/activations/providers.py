"""Places that shards come from: a folder, a model that makes them when needed, memory, which give the same bits; or several at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from assay.activations.manifest import Description, Line, open_description, read_lines
from assay.activations.produce import Producer
from assay.activations.shard import Shard, read_shard, read_sum
from assay.activations.share import remedy
from assay.activations.source import tensor_identity
from assay.beside import JOINT
from assay.config import differences
from assay.errors import ShapeMismatch, StoreError
from assay.sites import Site


@dataclass(frozen=True, eq=False)
class Moments:
    """First and second moments of all rows of a store, in float64."""

    rows: int
    mean: Float[Tensor, " D"]
    mean_square: float
    """E||x||^2."""

    @property
    def variance(self) -> float:
        """E||x - mean||^2 = E||x||^2 - ||mean||^2."""
        return self.mean_square - float(self.mean.square().sum())


@runtime_checkable
class Provider(Protocol):
    """Shards by index."""

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of each shard."""
        ...

    @property
    def parts(self) -> tuple[int, ...]:
        """Widths of the sites whose activations stand side by side in a row."""
        ...

    @property
    def identity(self) -> dict[str, Any]: ...

    def shard(self, index: int) -> Shard: ...

    def moments(self) -> Moments: ...


class OnDisk:
    """The shards of a finished harvest. Raises StoreError when it is not finished, CorruptData."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.description: Description = open_description(folder)
        self.lines: dict[int, Line] = read_lines(folder, self.description)
        if missing := [index for index in range(len(self.rows)) if index not in self.lines]:
            raise StoreError(
                f"{folder} holds {len(self.lines)} of {len(self.rows)} shards; {len(missing)} lack",
                expected="a finished harvest",
                do=remedy(folder, missing),
            )

    @property
    def rows(self) -> tuple[int, ...]:
        return self.description.shards

    @property
    def parts(self) -> tuple[int, ...]:
        return (self.description.width,)

    @property
    def identity(self) -> dict[str, Any]:
        return self.description.identity()

    def shard(self, index: int) -> Shard:
        return read_shard(self.folder, self.lines[index], self.description)

    def moments(self) -> Moments:
        """From the sums of the shards and the manifest; the activations are not read."""
        lines = [self.lines[index] for index in range(len(self.rows))]
        sums = (read_sum(self.folder, line, self.description) for line in lines)
        total = next(sums).clone()  # as wide as the file is, whatever its description says
        for more in sums:
            total += more
        return _moments(sum(self.rows), total, sum(line.sum_of_squares for line in lines))


class Live:
    """The shards that a harvest would write, made by running the model each time."""

    def __init__(self, producer: Producer, site: Site) -> None:
        self.producer, self.site = producer, site
        self.parts = (producer.widths([site])[site],)
        self.rows = producer.plan.rows
        self.identity = producer.describe(site, str(site), *self.parts).identity()

    def shard(self, index: int) -> Shard:
        return self.producer.shards(index, [self.site])[self.site]

    def moments(self) -> Moments:
        """From one run of the model over everything."""
        return moments_of(self)


class InMemory:
    """Tensors [N D] as shards; the origin of a row is its number among all rows, at position 0. Raises ShapeMismatch."""

    def __init__(self, tensors: list[Float[Tensor, "_ _"]]) -> None:
        shapes = [tuple(tensor.shape) for tensor in tensors]
        if not shapes or any(len(shape) != 2 or not shape[0] or shape[1] != shapes[0][1] for shape in shapes):
            raise ShapeMismatch(
                f"the shards have the shapes {shapes}", expected="rows x one width, each", do="Reshape them."
            )
        self.tensors = tensors
        self.rows = tuple(len(tensor) for tensor in tensors)
        self.parts = (shapes[0][1],)
        self.identity = {"source": {"kind": "memory", "shards": [tensor_identity(tensor) for tensor in tensors]}}

    def shard(self, index: int) -> Shard:
        first = sum(self.rows[:index])
        numbers = torch.arange(first, first + self.rows[index], dtype=torch.int32)
        return Shard(index, self.tensors[index], torch.stack([numbers, torch.zeros_like(numbers)], dim=1))

    def moments(self) -> Moments:
        return moments_of(self)


class Joined:
    """Several providers of the same rows at different sites, or of different models, side by side.

    Raises StoreError where the rows are not of the same tokens.
    """

    def __init__(self, providers: Sequence[Provider]) -> None:
        self.providers = providers
        first, *others = [_of_the_rows(provider.identity) for provider in providers]
        if changed := next((differences(first, other) for other in others if other != first), None):
            raise StoreError(
                f"the stores to join hold different rows ({changed})",
                expected="sites, or models, that read the same text in the same order",
                do='Harvest them together: harvest.site = "a + b".',
            )
        self.rows = providers[0].rows
        self.parts = tuple(width for provider in providers for width in provider.parts)
        sites = JOINT.join(str(provider.identity.get("site")) for provider in providers)
        models = [provider.identity.get("model") for provider in providers]
        model = (
            models[0] if all(each == models[0] for each in models) else {str(n): each for n, each in enumerate(models)}
        )
        self.identity = {**first, "model": model, "site": sites, "width": sum(self.parts), "parts": list(self.parts)}

    def shard(self, index: int) -> Shard:
        """Raises StoreError where a row of one store is of another token than that of the others."""
        first, *others = [provider.shard(index) for provider in self.providers]
        if not all(torch.equal(first.origin, other.origin) for other in others):
            raise StoreError(
                f"row by row, shard {index} of the stores to join is of different tokens",
                expected="the same document and position in each",
                do="Harvest the sites together, into one folder.",
            )
        return Shard(index, torch.cat([first.activations, *(other.activations for other in others)], 1), first.origin)

    def moments(self) -> Moments:
        every = [provider.moments() for provider in self.providers]
        return Moments(every[0].rows, torch.cat([each.mean for each in every]), sum(each.mean_square for each in every))


def _of_the_rows(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What decides which tokens the rows are of, and how they are kept."""
    return {name: value for name, value in identity.items() if name not in {"model", "site", "width"}}


def moments_of(provider: Provider) -> Moments:
    """From all shards, one after another."""
    total, squares = torch.zeros(sum(provider.parts), dtype=torch.float64), 0.0
    for index in range(len(provider.rows)):
        shard = provider.shard(index)
        total += shard.sum()
        squares += shard.sum_of_squares()
    return _moments(sum(provider.rows), total, squares)


def _moments(rows: int, total: Float[Tensor, " D"], squares: float) -> Moments:
    return Moments(rows, total / rows, squares / rows)
