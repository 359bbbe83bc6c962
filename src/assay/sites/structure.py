"""What a model consists of, found from its own module tree: blocks, their attention and MLP, the embedding, the final norm.

Children are recognised by the names that transformers models give them; no architecture is listed anywhere.
"""

from __future__ import annotations

import inspect

from torch import nn

from assay.sites.address import Site, modules_of, unwrapped

IN_BLOCK = ("resid_pre", "attn_in", "z", "attn_out", "mlp_in", "mlp_out", "resid_post")
"""What a block can hold, in the order in which a forward meets it."""
MLP = ("mlp", "feed_forward", "ffn")
ATTENTION = ("attn", "self_attn", "attention", "self_attention")
PROJECTION = ("o_proj", "out_proj", "c_proj", "dense", "wo")
AFTER_ATTENTION = ("post_self_attn_layernorm", "post_attention_layernorm")
AFTER_MLP = ("post_feedforward_layernorm", "post_mlp_layernorm")
SANDWICH = ("post_feedforward_layernorm", "post_self_attn_layernorm", "pre_feedforward_layernorm", "pre_mlp_layernorm")
"""A block with one of these norms what its parts return before adding it; in others `post_attention_layernorm` feeds the MLP."""


def stacks(model: nn.Module) -> list[tuple[str, nn.ModuleList]]:
    """The outermost module lists that hold the most members: one for most models, none or several where numbers mean nothing.

    Only the part that `get_decoder()` names is searched where a model has that method.
    """
    decoder = named_by(model, "get_decoder")
    lists: list[tuple[str, nn.ModuleList]] = []
    for path, module in modules_of(model).items():
        nested = any(path.startswith(f"{outer}.") for outer, _ in lists)
        if (
            path
            and isinstance(module, nn.ModuleList)
            and not nested
            and (not decoder or path.startswith(f"{decoder}."))
        ):
            lists.append((path, module))
    most = max((len(members) for _, members in lists), default=0)
    return [(path, members) for path, members in lists if len(members) == most > 0]


def stacks_in_words(model: nn.Module) -> str:
    """How many blocks the model has, and where."""
    name, found = type(unwrapped(model)).__name__, stacks(model)
    if not found:
        return f"{name} has no list of blocks, so sites go by the paths of modules"
    path, blocks = found[0]
    if len(found) > 1:
        several = " and ".join(path for path, _ in found)
        owner = path.rpartition(".")[0]
        part = f', or by the part, such as "{owner}/resid_post.0"' if owner else ""
        return f"{name} has several lists of {len(blocks)} blocks, {several}, so sites go by the paths of modules{part}"
    return f"{name} has {len(blocks)} blocks, {path}.0 to {path}.{len(blocks) - 1}"


def in_block(path: str, block: nn.Module, kind: str) -> Site | None:
    """The site that a member of IN_BLOCK means in the block at `path`; None when the block has no such part."""
    if kind in ("resid_pre", "resid_post"):
        return Site(path, "in" if kind == "resid_pre" else "out")
    is_mlp = kind.startswith("mlp")
    part = _child(path, block, MLP if is_mlp else ATTENTION)
    if part is None:
        return None
    where, module = part
    if kind.endswith("_in"):
        return Site(where, "in")
    projection = None if is_mlp else _projection(where, module)
    if kind == "z":
        called = not isinstance(module, nn.MultiheadAttention)
        return Site(projection, "in") if projection and called else None
    # A part that is handed the residual stream returns the sum (BLOOM), and so may one without a projection of its own (BERT).
    if "residual" in inspect.signature(module.forward).parameters or not (is_mlp or projection):
        return None
    norm = _child(path, block, AFTER_MLP if is_mlp else AFTER_ATTENTION)
    return Site(norm[0] if norm and _child(path, block, SANDWICH) else where)


def token_embedding(model: nn.Module) -> str | None:
    """Path of the embedding that the blocks read: the one that the decoder or the model names, or the only one there is."""
    decoder = named_by(model, "get_decoder") or ""
    named = named_by(model, "get_input_embeddings", part=decoder)
    embeddings = [path for path, module in modules_of(model).items() if isinstance(module, nn.Embedding)]
    return named or (embeddings[0] if len(embeddings) == 1 else None)


def final_norm(model: nn.Module) -> str | None:
    """Path of the last norm beside the list of blocks that isn't a norm of the embeddings."""
    found = stacks(model)
    if len(found) != 1:
        return None
    owner = found[0][0].rpartition(".")[0]
    children = unwrapped(unwrapped(model).get_submodule(owner)).named_children()
    norms = [
        name for name, child in children if "norm" in type(unwrapped(child)).__name__.lower() and "emb" not in name
    ]
    return ".".join(filter(None, (owner, norms[-1]))) if norms else None


def named_by(model: nn.Module, method: str, *, part: str = "") -> str | None:
    """Path of the module that a method of transformers models answers, asked of the model or of a part of it; else None."""
    asked = unwrapped(model).get_submodule(part)
    try:
        answer = getattr(asked, method, lambda: None)()
    except (NotImplementedError, AttributeError):
        return None
    return next((path for path, module in modules_of(model).items() if module is answer), None)


def _child(path: str, module: nn.Module, names: tuple[str, ...]) -> tuple[str, nn.Module] | None:
    children = dict(unwrapped(module).named_children())
    return next(((f"{path}.{name}", unwrapped(children[name])) for name in names if name in children), None)


def _projection(path: str, attention: nn.Module) -> str | None:
    """Path of the output projection, which may sit one attention module deeper (GPT-Neo)."""
    if found := _child(path, attention, PROJECTION):
        return found[0]
    deeper = _child(path, attention, ATTENTION)
    return _projection(*deeper) if deeper else None
