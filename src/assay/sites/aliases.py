"""Names that people use for sites, turned into exact addresses of a model.

`resid_post.10`, `blocks.10.hook_resid_post`, `h.10` and `transformer.h.10:out` are one site of GPT-2.
"""

from __future__ import annotations

import re

from torch import nn

from assay.beside import Beside
from assay.errors import SiteNotFound, shown
from assay.sites.address import Site, module_at, modules_of, not_found, unwrapped
from assay.sites.structure import IN_BLOCK, final_norm, in_block, stacks, stacks_in_words, token_embedding

OUTSIDE_BLOCKS = {"embed": token_embedding, "final_norm": final_norm}
TRANSFORMERLENS = {
    "hook_resid_pre": "resid_pre",
    "attn.hook_z": "z",
    "hook_attn_out": "attn_out",
    "hook_mlp_out": "mlp_out",
    "hook_resid_post": "resid_post",
}
"""Spellings of TransformerLens that mean the same tensor; there z has an axis for the heads, here they are joined."""


def locate(model: nn.Module, site: str | Site) -> Site:
    """The exact site of this model that a name means. Raises SiteNotFound (with the nearest names) or ConfigError.

    Tried in this order:
        exact address     "model.layers.12", "model.layers.12:in"; "tap:NAME" is taken on trust, a tap shows only in a forward
        name of a tensor  resid_pre.N   input of block N
                          attn_in.N     input of its attention
                          z.N           joined heads, before attention's output projection
                          attn_out.N    what attention adds to the residual stream
                          mlp_in.N      input of its MLP
                          mlp_out.N     what the MLP adds to the residual stream
                          resid_post.N  output of block N
                          embed         output of the token embedding
                          final_norm    output of the norm before the unembedding
                          blocks.N.hook_resid_pre and the like: the spellings of TransformerLens that mean the same tensor
        in a part         "PATH/NAME" is what NAME means in the part of the model at PATH, such as "language_model/resid_post.9"
        end of a path     "layers.12" for "model.layers.12", if only one path ends so
    N = -1 is the last block. Blocks are the members of the longest outermost `nn.ModuleList`, within the part that
    `get_decoder()` names where there is one. Where a norm follows attention or the MLP inside a block (Gemma 2), what is
    added to the residual stream is that norm's output.
    """
    if isinstance(site, Site):
        if site.side != "tap":
            module_at(model, site)
        return site
    name, paths = site.strip(), modules_of(model, remove_duplicate=False)
    if name not in paths and (alias := _alias(model, name)) is not None:
        return alias
    part, slash, inside = name.partition("/")
    if slash and part in paths:
        found = locate(paths[part], inside)
        return found if found.side == "tap" else Site(".".join(filter(None, (part, found.path))), found.side)
    exact = Site.parse(name)
    if exact.side == "tap" or exact.path in paths:
        return exact
    ends = [path for path in modules_of(model) if path.endswith(f".{exact.path}")]
    if len(ends) == 1:
        return Site(ends[0], exact.side)
    if ends:
        raise SiteNotFound(
            f"{shown(name)} could be any of {len(ends)} modules",
            expected=f"one path, such as {', '.join(ends[:3])}",
            do="Write the whole path.",
        )
    hint = f"`list_sites(model)` names what it has. {stacks_in_words(model)}."
    raise not_found(model, name, [*list_sites(model), *paths], hint=hint)


def list_sites(model: nn.Module) -> list[str]:
    """Every name that `locate` understands and this model has; for a model without numbered blocks, all its modules' paths.

    Of models side by side (`Beside`), those of each.
    """
    if isinstance(unwrapped(model), Beside):
        return [f"{part}/{name}" for part, each in unwrapped(model).named_children() for name in list_sites(each)]
    outside = [name for name, find in OUTSIDE_BLOCKS.items() if find(model) is not None]
    found = stacks(model)
    if len(found) != 1:
        return [*outside, *filter(None, modules_of(model))]
    path, blocks = found[0]
    inside = [
        f"{kind}.{number}"
        for number, block in enumerate(blocks)
        for kind in IN_BLOCK
        if in_block(f"{path}.{number}", block, kind) is not None
    ]
    first = [name for name in outside if name == "embed"]
    return [*first, *inside, *(name for name in outside if name not in first)]


def _alias(model: nn.Module, name: str) -> Site | None:
    if name in OUTSIDE_BLOCKS:
        path = OUTSIDE_BLOCKS[name](model)
        return None if path is None else Site(path)
    foreign = re.fullmatch(r"blocks\.(-?\d+)\.(.+)", name)
    if foreign and foreign[2] in TRANSFORMERLENS:
        return _numbered(model, name, TRANSFORMERLENS[foreign[2]], int(foreign[1]))
    house = re.fullmatch(rf"({'|'.join(IN_BLOCK)})\.(-?\d+)", name)
    return _numbered(model, name, house[1], int(house[2])) if house else None


def _numbered(model: nn.Module, name: str, kind: str, number: int) -> Site:
    found = stacks(model)
    path, blocks = found[0] if len(found) == 1 else ("", nn.ModuleList())
    if not -len(blocks) <= number < len(blocks):
        raise SiteNotFound(
            f"{shown(name)}: {stacks_in_words(model)}",
            expected=f"a block from {-len(blocks)} to {len(blocks) - 1}" if blocks else "the path of a module",
            do="`list_sites(model)` names what it has.",
        )
    number %= len(blocks)
    site = in_block(f"{path}.{number}", blocks[number], kind)
    if site is None:
        children = ", ".join(child for child, _ in blocks[number].named_children()) or "none"
        raise SiteNotFound(
            f"{path}.{number} has no part that {shown(name)} can mean",
            expected=f"a block with such a part; this one has {children}",
            do=f'Write the path of a module, for example "{path}.{number}:out"; `list_sites(model)` names what it has.',
        )
    return site
