"""Let a model run with the codes at its sites edited. What a dictionary does not reconstruct is kept, unless it is told to go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from jaxtyping import Bool, Float
from torch import Tensor, nn

from assay.dictionary import Dictionary
from assay.edit import Edit, ErrorTerm
from assay.errors import ShapeMismatch
from assay.sites import Site, replace


@contextmanager
def intervene(
    model: nn.Module,
    edits: Mapping[Site, tuple[Dictionary, Edit]],
    *,
    error: ErrorTerm | None = None,
    keep: Bool[Tensor, "*flags"] | None = None,
) -> Iterator[None]:
    """Inside the `with` block, activations x [... D] at each site become decode(edit(encode(x))) + error term.

    The error term is x - decode(encode(x)), which gets no gradient, or zero when it is dropped; `error` overrides what the edits
    do by default. With `keep`, one flag for each row of D numbers, the other rows pass through unchanged. Shape and dtype of the
    activations stay. Raises ShapeMismatch, and what `sites.replace` raises.
    """
    changes = {
        site: partial(change_rows, keep=keep, change=partial(_edited, dictionary, edit, error or edit.error))
        for site, (dictionary, edit) in edits.items()
    }
    with replace(model, changes):
        yield


def change_rows(
    x: Float[Tensor, "*rows D"], keep: Bool[Tensor, "*flags"] | None, change: Callable[[Tensor], Tensor]
) -> Float[Tensor, "*rows D"]:
    """`x` with its rows, or those in `keep`, put through `change` [N D] -> [N D]. Raises ShapeMismatch when `keep` does not fit."""
    rows = x.flatten(0, -2)
    if keep is None:
        return change(rows).to(x.dtype).view_as(x)
    if keep.numel() != len(rows):
        raise ShapeMismatch(
            f"keep is {list(keep.shape)} for activations {list(x.shape)}",
            expected=f"{list(x.shape[:-1])}, one flag a row",
            do="Give the flags of the contexts that the model is run on.",
        )
    chosen = keep.flatten().nonzero().view(-1).to(x.device)
    if not len(chosen):
        return x
    return rows.index_copy(0, chosen, change(rows[chosen]).to(x.dtype)).view_as(x)


def _edited(dictionary: Dictionary, edit: Edit, error: ErrorTerm, x: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    codes = dictionary.encode(x)
    edited = dictionary.decode(edit(codes), x)
    return edited + (x - dictionary.decode(codes, x)).detach() if error == "keep" else edited
