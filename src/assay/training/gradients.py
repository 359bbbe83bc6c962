"""One gradient for processes that share a batch: the sum of theirs, the same on each.

A matrix's sparse gradient is left as factors V^T M by backward. Their rows are gathered, so that each process holds the factors of the
whole batch and goes on as one process would, with its bits; written out it would be L x D numbers to add up. Where factors are the
larger message, or a process has a table because its codes were dense, tables are added up: what all send is agreed on first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from assay import ranks
from assay.codes import CsrSupport
from assay.ops.gradient import Factors
from assay.ranks import Ranks


def sum_gradients(
    parameters: Sequence[nn.Parameter], factors: Mapping[int, list[Factors]], parts: Ranks | None
) -> None:
    """Make `grad` and the factors of every parameter, by its id, those of the whole batch that `parts` share."""
    _settle_placements(parameters)
    if parts is None:
        return
    mine = torch.tensor([_forms(parameter, factors.get(id(parameter), [])) for parameter in parameters])
    forms = parts.stacked(mine.to(parameters[0].device)).tolist()
    supports: dict[int, CsrSupport] = {}
    vectors: list[Tensor] = []
    for number, parameter in enumerate(parameters):
        tables, counts, sizes = zip(*(everyone[number] for everyone in forms), strict=True)
        waiting = factors.get(id(parameter), [])
        if not any(tables) and not any(counts):
            continue
        table_size = 2 * parameter.element_size() * ranks.local(parameter).numel()
        if not any(tables) and min(counts) == max(counts) and sum(sizes) <= table_size:
            waiting[:] = [each.over(parts, supports) for each in waiting]
            continue
        table = _written_out(parameter, waiting)
        if parameter.ndim < 2:
            vectors.append(table)
        else:
            parts.add_up(table)
    _add_up_together(vectors, parts)


def clip_gradients(parameters: Sequence[nn.Parameter], largest: float) -> None:
    """Scale the whole gradient down to the norm `largest`, all shards counted, if it is longer."""
    with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
    split = [parameter for parameter in with_gradient if ranks.is_sharded(parameter)]
    if not split:
        torch.nn.utils.clip_grad_norm_(with_gradient, largest)
        return
    shard = ranks.shard_of(split[0])
    assert shard is not None
    here = torch.nn.utils.get_total_norm([ranks.local(p.grad) for p in split if p.grad is not None])
    square = shard.ranks.sum(here.square())
    if copies := [p.grad for p in with_gradient if p.grad is not None and not ranks.is_sharded(p)]:
        square = square + torch.nn.utils.get_total_norm(copies).square()
    factor = (largest / (square.sqrt() + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_ has it
    for parameter in with_gradient:
        if parameter.grad is not None:
            ranks.local(parameter.grad).mul_(factor)


def _settle_placements(parameters: Sequence[nn.Parameter]) -> None:
    """Gradients that operations on DTensors left as parts of a sum, or elsewhere than their parameter's rows, put where these are."""
    for parameter in parameters:
        gradient = parameter.grad
        if not ranks.is_sharded(gradient):
            continue
        if not ranks.is_sharded(parameter):
            parameter.grad = ranks.whole(gradient)  # pyright: ignore[reportArgumentType]
        elif gradient.placements != parameter.placements:  # pyright: ignore
            parameter.grad = gradient.redistribute(placements=parameter.placements)  # pyright: ignore


def _forms(parameter: nn.Parameter, waiting: Sequence[Factors]) -> tuple[int, int, int]:
    """In which forms a gradient is here: whether as a table, how many factors, and their bytes."""
    return int(parameter.grad is not None), len(waiting), sum(each.size() for each in waiting)


def _written_out(parameter: nn.Parameter, waiting: list[Factors]) -> Tensor:
    """The rows of `grad` that are here, with the factors added to it, which are dropped."""
    with torch.no_grad():
        table = torch.zeros_like(ranks.local(parameter)) if parameter.grad is None else ranks.local(parameter.grad)
        for each in waiting:
            table = table + each.table()
        table = table.contiguous()
        parameter.grad = ranks.like(table, parameter)
    waiting.clear()
    return table


def _add_up_together(tensors: Sequence[Tensor], parts: Ranks) -> None:
    """`add_up` of small tensors in one exchange."""
    if tensors:
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        parts.add_up(flat)
        for tensor, summed in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))
