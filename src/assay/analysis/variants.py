"""Many replacements at one site, with the layers before it run once for all of them.

At the site the variants are stacked along the batch, so that only the rest of the model runs for each. That works where everything
that the model carries past the site (masks, position embeddings, residual streams) stretches from a batch of one. Whether it does is
not guessed from the model's class: `shareable` tries it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from assay.errors import ConfigError
from assay.interventions.apply import change_rows
from assay.sites import Site, replace
from assay.sites.address import module_at, unwrapped
from assay.sites.nested import exchange

Change: TypeAlias = Callable[[Tensor], Tensor]
"""Rows of activations [N D] in, what takes their place [N D] out."""

BUDGET = 1 << 27
"""Logits made in one forward (512 MiB in float32)."""


def logits_of(
    model: nn.Module,
    site: Site,
    arguments: Mapping[str, Tensor],
    keep: Bool[Tensor, "B S"],
    changes: Sequence[Change],
    together: int,
) -> Iterator[Float[Tensor, "B S V"]]:
    """Logits with the rows in `keep` changed at the site, for each change in turn; `together` of them share a forward.

    Raises ConfigError when the model gives no logits, and what `sites.replace` raises.
    """
    variants = [partial(change_rows, keep=keep, change=change) for change in changes]
    for start in range(0, len(variants), together):
        group = variants[start : start + together]
        with replace(model, {site: group[0]}) if together == 1 else _stacked(model, site, group):
            logits = forward(model, arguments).split(len(keep))
        yield from logits
        del logits


def shareable(model: nn.Module, site: Site, arguments: Mapping[str, Tensor], keep: Bool[Tensor, "1 S"]) -> int:
    """How many changes may share a forward of one context: 1 unless two come out together as they do alone."""
    run = partial(logits_of, model, site, arguments, torch.ones_like(keep), (_unchanged, torch.zeros_like))
    alone = list(run(together=1))
    most = BUDGET // alone[0].numel()
    if site.side == "tap" or most < 2:
        return 1
    try:
        stacked = list(run(together=2))
    except Exception:  # whatever it is that this model objects to, it runs one change at a time
        return 1
    return most if len(stacked) == 2 and all(map(_alike, alone, stacked)) else 1


@contextmanager
def _stacked(model: nn.Module, site: Site, variants: Sequence[Change]) -> Iterator[None]:
    """Let the model go on from the site with all variants, one after another along the batch; `replace` keeps shapes, this grows one."""

    def stack(x: Tensor) -> Tensor:
        return torch.cat([variant(x) for variant in variants])

    module = module_at(model, site)
    if site.side == "out":
        handle = module.register_forward_hook(lambda _, args, output: exchange(output, stack)[0])
    else:
        handle = module.register_forward_pre_hook(
            lambda _, args, kwargs: exchange((args, kwargs), stack)[0], with_kwargs=True
        )
    with handle:
        yield


def forward(model: nn.Module, arguments: Mapping[str, Tensor]) -> Float[Tensor, "B S V"]:
    """The model's logits. Raises ConfigError when it gives none."""
    logits = getattr(model(**arguments), "logits", None)
    if logits is None:
        raise ConfigError(
            f"{type(unwrapped(model)).__name__} gives no logits",
            expected="a causal language model",
            do="Load it with AutoModelForCausalLM, or measure the activations alone with `evaluate`.",
        )
    return logits


def _unchanged(x: Tensor) -> Tensor:
    return x


def _alike(alone: Tensor, stacked: Tensor) -> bool:
    """Equal up to the square root of the dtype's rounding: far more than the order of sums does, far less than a mix-up of rows."""
    tolerance = torch.finfo(alone.dtype).eps ** 0.5 * alone.abs().max()
    return alone.shape == stacked.shape and bool(((alone - stacked).abs() <= tolerance).all())
