"""Replacements at several sites of one forward: a transcoder's target, or every part that a crosscoder reconstructs.

What takes the activations' place is made from those of the clean forward, so a site that is replaced does not change what is read at a
later one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from assay.analysis.variants import Change, forward
from assay.interventions.apply import change_rows
from assay.sites import Site, capture, replace


def logits_of_several(
    model: nn.Module,
    sites: Sequence[Site],
    arguments: Mapping[str, Tensor],
    keep: Bool[Tensor, "B S"],
    changes: Sequence[Change],
    written: Sequence[Site],
) -> Iterator[Float[Tensor, "B S V"]]:
    """Logits for each change in turn: it is given the kept rows of all `sites`, side by side, and what it gives goes to `written`.

    The sites written are the last ones of those read; of rows as wide as all of them the last columns count.
    Raises ConfigError when the model gives no logits, and what `sites.replace` raises.
    """
    found = capture(model, sites, **arguments)
    parts = [found[site].flatten(0, -2)[keep.flatten()] for site in sites]
    rows, widths = torch.cat(parts, 1), [part.shape[1] for part in parts[-len(written) :]]
    for change in changes:
        columns = change(rows)[:, -sum(widths) :].split(widths, dim=1)
        edits = {
            site: partial(change_rows, keep=keep, change=partial(_put, part))
            for site, part in zip(written, columns, strict=True)
        }
        with replace(model, edits):
            yield forward(model, arguments)


def _put(part: Float[Tensor, "N D"], _: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    return part
