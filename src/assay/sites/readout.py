"""How a language model reads its residual stream: the unembedding and the scale of the norm before it, which is measured."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.errors import SiteNotFound
from assay.sites.address import unwrapped
from assay.sites.structure import final_norm, named_by, stacks


def readout(model: nn.Module) -> tuple[Float[Tensor, "V D"], Float[Tensor, " D"] | None]:
    """W [V D] and scale [D] of logits = W (scale * normalized(x)), with x [D] the residual stream after the last block.

    The scale is None when the model has no final norm. It is measured by running the norm on a known vector, so it is right
    for norms that multiply by 1 + weight as well. Biases, soft caps, constant factors and a norm's subtraction of the mean are
    left out. Raises SiteNotFound when the model isn't a language model whose unembedding reads what its last block returns.
    """
    model = unwrapped(model)
    head = named_by(model, "get_output_embeddings")
    weight = None if head is None else getattr(model.get_submodule(head), "weight", None)
    if head is None or not isinstance(weight, Tensor) or weight.ndim != 2:
        raise _no_readout(model, "has no unembedding matrix")
    inside = head.rpartition(".")[0]
    if inside and not any(path.startswith(f"{inside}.") for path, _ in stacks(model)):
        raise _no_readout(model, f"transforms the last block's output in {inside!r} before it is unembedded")
    norm = final_norm(model)
    if norm is None:
        return weight.detach(), None
    module = model.get_submodule(norm)
    if any(parameter.numel() != weight.shape[1] for parameter in module.parameters()):
        raise _no_readout(model, f"projects the output of {norm!r} to another width before it is unembedded")
    return weight.detach(), _scale_of(module, weight.detach())


@torch.no_grad()
def _scale_of(norm: nn.Module, like: Float[Tensor, "V D"]) -> Float[Tensor, " D"]:
    """The probe has mean 0 and mean square 1 before it is made long, which makes any epsilon vanish: a norm only scales it."""
    width = like.shape[1]
    probe = torch.tensor([1.0, -1.0]).repeat(width // 2 + 1)[:width]
    if width % 2:
        probe[-3:] = torch.tensor([2**0.5, -(0.5**0.5), -(0.5**0.5)])
    probe = probe.to(like)
    # `forward`, so that no hook takes the probe for an activation; the difference removes the bias.
    return ((norm.forward(256 * probe) - norm.forward(-256 * probe)) / (2 * probe)).to(like)


def _no_readout(model: nn.Module, why: str) -> SiteNotFound:
    return SiteNotFound(
        f"{type(model).__name__} {why}",
        expected="a language model whose last block, final norm and unembedding follow each other",
        do="Leave out what needs the unembedding, or give the matrix yourself.",
    )
