"""Processes that train together: what this one holds of a batch and of a dictionary, and the sums over all. Alone, each is the identity.

    batch      every process has its own rows of one batch; `sharing_batch` says with whom, and `batch_mean` and its like go over them
    latents    every process has its own rows of the parameters with one row a latent: these are DTensors, and `shard_of` reads off which

Two functions make gradients right where a shard meets what every process holds whole (Shoeybi et al. 2019, f and g). What enters a
shard has a gradient in every shard, and `Shard.entering` sums them; what leaves it is a part, and `Shard.leaving` sums the parts, so
that every process goes on with the whole, and receives the whole gradient. A vector with one number a latent that is no DTensor is
whole on every process.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed.device_mesh import DeviceMesh

from assay.errors import RankLost


class Ranks:
    """Processes that exchange tensors; this one is number `index` of `size`. Every exchange raises RankLost when one of them is gone."""

    def __init__(self, group: dist.ProcessGroup | None) -> None:
        self.group = group
        self.index, self.size = dist.get_rank(group), dist.get_world_size(group)

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum over all processes, the same bits on each; no gradient."""
        return self._reduced(tensor, dist.ReduceOp.SUM)

    def smallest(self, tensor: Tensor) -> Tensor:
        """The smallest of all processes, number by number."""
        return self._reduced(tensor, dist.ReduceOp.MIN)

    def largest(self, tensor: Tensor) -> Tensor:
        """The largest of all processes, number by number."""
        return self._reduced(tensor, dist.ReduceOp.MAX)

    def add_up(self, tensor: Tensor) -> None:
        """`sum`, in place."""
        with _exchange():
            dist.all_reduce(tensor, group=self.group)

    def stacked(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, which have one shape, along a new first dimension."""
        tensor = tensor.detach().contiguous()
        everyone = tensor.new_empty(self.size, *tensor.shape)
        with _exchange():
            dist.all_gather(list(everyone.unbind()), tensor, group=self.group)
        return everyone

    def joined(self, tensor: Tensor) -> Tensor:
        """The rows of all processes, one process after another, however many each has."""
        lengths = self.stacked(torch.tensor(len(tensor), device=tensor.device)).tolist()
        if min(lengths) == max(lengths):
            return self.stacked(tensor).flatten(0, 1)
        padded = tensor.new_zeros(max(lengths), *tensor.shape[1:])
        padded[: len(tensor)] = tensor.detach()
        return torch.cat([part[:length] for part, length in zip(self.stacked(padded), lengths, strict=True)])

    def collected(self, tensor: Tensor) -> Tensor | None:
        """The rows of all processes, as many on each, on the first of them; None on the others."""
        tensor, parts = tensor.detach().contiguous(), None
        if self.index == 0:
            parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with _exchange():
            dist.gather(tensor, parts, group=self.group, group_dst=0)
        return torch.cat(parts) if parts else None

    def from_first(self, tensor: Tensor) -> Tensor:
        """What the first process has, in place."""
        with _exchange():
            dist.broadcast(tensor, group=self.group, group_src=0)
        return tensor

    def _reduced(self, tensor: Tensor, operation: Any) -> Tensor:
        result = tensor.detach().clone(memory_format=torch.contiguous_format)
        with _exchange():
            dist.all_reduce(result, operation, group=self.group)
        return result


_BROKEN = re.compile("gloo|nccl|peer|connection|socket|timed out|timeout", re.IGNORECASE)
"""What an exchange says that failed because of another process; anything else is a defect of ours, and goes through."""


@contextmanager
def _exchange() -> Iterator[None]:
    """Says what a broken exchange means: whoever it was with has stopped, or cannot be reached in time."""
    try:
        yield
    except RuntimeError as error:
        if not _BROKEN.search(str(error)):
            raise
        raise RankLost(
            f"rank {dist.get_rank()} lost another rank ({_reason(error)})",
            expected="all of them to go on together",
            do="The first message of the others says why. The same command goes on from the last checkpoint.",
        ) from error


def _reason(error: Exception) -> str:
    """The first sentence of a message, without the place in its source that it may begin with."""
    return re.sub(r"^\[[^]]*\]\s*", "", str(error)).splitlines()[0].partition(". ")[0]


def is_first() -> bool:
    """Whether this process is the one that writes files: the first of all, or alone."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


# Rows of a batch.

_BATCH: ContextVar[Ranks | None] = ContextVar("_BATCH", default=None)


@contextmanager
def sharing_batch(ranks: Ranks | None) -> Iterator[None]:
    """Inside the block the rows at hand are this process's of a batch that `ranks` share: equally many each, in the order of the ranks."""
    token = _BATCH.set(ranks)
    try:
        yield
    finally:
        _BATCH.reset(token)


def batch() -> Ranks | None:
    """Who shares the batch; None when all its rows are here."""
    return _BATCH.get()


def batch_sum(tensor: Tensor) -> Tensor:
    """Sum over all parts of the batch; no gradient."""
    return ranks.sum(tensor) if (ranks := batch()) else tensor


def batch_mean(tensor: Tensor) -> Tensor:
    """Mean over the parts of the batch, which have equally many rows. Differentiable."""
    return _Mean.apply(tensor, ranks) if (ranks := batch()) else tensor  # pyright: ignore[reportReturnType]


def batch_rows(tensor: Tensor) -> Tensor:
    """The rows of the whole batch, in order; no gradient."""
    return ranks.stacked(tensor).flatten(0, 1) if (ranks := batch()) else tensor


class _Mean(torch.autograd.Function):
    """Every part of the loss may use the mean, so its gradient is the sum of theirs, shared out."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.sum(tensor) / ranks.size

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor):  # pyright: ignore
        return ctx.ranks.sum(gradient) / ctx.ranks.size, None


# Latents of a dictionary.


@dataclass(frozen=True)
class Shard:
    """Latents `first` to `first + held - 1` of `width`: the rows of a dictionary that this process holds."""

    mesh: DeviceMesh
    """The processes that hold the others."""
    width: int

    @property
    def ranks(self) -> Ranks:
        """The processes of the mesh."""
        return Ranks(self.mesh.get_group())

    @property
    def held(self) -> int:
        """How many latents each process holds."""
        return self.width // self.mesh.size()

    @property
    def first(self) -> int:
        """The first latent held here."""
        return self.mesh.get_local_rank() * self.held

    def entering(self, tensor: Tensor) -> Tensor:
        """The same tensor; its gradient is summed over the shards."""
        return _Entering.apply(tensor, self.ranks) if tensor.requires_grad else tensor  # pyright: ignore[reportReturnType]

    def leaving(self, part: Tensor) -> Tensor:
        """The sum of the shards' parts; each part gets the gradient of the sum."""
        return _Leaving.apply(part, self.ranks)  # pyright: ignore[reportReturnType]


class _Entering(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return tensor.view_as(tensor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor):  # pyright: ignore
        return ctx.ranks.sum(gradient), None


class _Leaving(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, ranks: Ranks) -> Tensor:
        return ranks.sum(part)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor):  # pyright: ignore
        return gradient, None


def is_sharded(tensor: object) -> bool:
    """Whether a tensor is a DTensor, of which this process holds some rows."""
    module = sys.modules.get("torch.distributed.tensor")  # importing it takes a while, and only sharding needs it
    return module is not None and isinstance(tensor, module.DTensor)


def shard_of(tensor: Tensor) -> Shard | None:
    """Which rows of a tensor with one row a latent are here; None when all are."""
    return Shard(tensor.device_mesh, len(tensor)) if is_sharded(tensor) else None  # pyright: ignore


def split(whole: Tensor, mesh: DeviceMesh) -> Tensor:
    """A DTensor that holds this process's rows of `whole`, copied, and no gradient."""
    shard = Shard(mesh, len(whole))
    return _with_rows(whole.detach()[shard.first : shard.first + shard.held].clone(), mesh)


def split_like(whole: Tensor, other: Tensor) -> Tensor:
    """`whole`, split as `other` is."""
    return split(whole, other.device_mesh) if is_sharded(other) else whole  # pyright: ignore


def like(rows: Tensor, other: Tensor) -> Tensor:
    """A DTensor of these rows, if `other` is one."""
    return _with_rows(rows, other.device_mesh) if is_sharded(other) else rows  # pyright: ignore


def _with_rows(rows: Tensor, mesh: DeviceMesh) -> Tensor:
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor import Shard as Along

    return DTensor.from_local(rows, mesh, [Along(0)], run_check=False)


def local(tensor: Tensor) -> Tensor:
    """The rows held here, sharing memory and gradient with the tensor."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # pyright: ignore


def part(tensor: Tensor, shard: Shard | None) -> Tensor:
    """The rows of a tensor with one row a latent that belong to a shard, whether it is split or whole."""
    if shard is None or is_sharded(tensor):
        return local(tensor)
    return tensor[shard.first : shard.first + shard.held]


def whole(tensor: Tensor) -> Tensor:
    """The rows or the sum that all shards have together, on every process. Differentiable."""
    if not is_sharded(tensor):
        return tensor
    with _exchange():
        return tensor.full_tensor()  # pyright: ignore


def held(latents: Int[Tensor, " R"], tensor: Tensor) -> tuple[Bool[Tensor, " R"], Int[Tensor, " _"]]:
    """Which of some latents have their row of `tensor` here, and where in it."""
    shard = shard_of(tensor)
    first, count = (shard.first, shard.held) if shard else (0, len(tensor))
    mine = (latents >= first) & (latents < first + count)
    return mine, latents[mine] - first


@torch.no_grad()
def set_rows(tensor: Tensor, latents: Int[Tensor, " R"], rows: Float[Tensor, "R ..."] | float) -> None:
    """tensor[latents] = rows, for the rows that are here."""
    mine, places = held(latents, tensor)
    local(tensor)[places] = rows[mine].to(tensor) if isinstance(rows, Tensor) else rows
