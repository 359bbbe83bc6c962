"""A small language model, contexts for it, and dictionaries of its activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from assay.activations import Inputs
from assay.dictionaries.relu import ReLU
from assay.dictionaries.topk import TopK
from assay.dictionary import Dictionary
from assay.sites import Site, capture

D, VOCABULARY, CONTEXT = 16, 53, 9


class Contexts:
    """Random tokens; the first position of every context and some others are not kept."""

    identity: dict[str, Any] = {"kind": "random"}

    def __init__(self, contexts: int = 7) -> None:
        generator = torch.Generator().manual_seed(0)
        self.ids = torch.randint(VOCABULARY, (contexts, CONTEXT), generator=generator)
        self.keep = torch.rand(contexts, CONTEXT, generator=generator) < 0.8
        self.keep[:, 0] = False
        self.keep[2:3] = False

    def __len__(self) -> int:
        return len(self.ids)

    def inputs(self, start: int, stop: int) -> Inputs:
        ids = self.ids[start:stop]
        documents = torch.arange(start, start + len(ids)).div(2, rounding_mode="floor") * 3  # two contexts a document
        origin = torch.stack([documents[:, None].expand(ids.shape), torch.zeros_like(ids)], -1).int()
        return Inputs({"input_ids": ids}, self.keep[start:stop], origin)


class PlainModel(nn.Module):
    """A language model whose last layer refuses a batch that is larger than that of its token ids."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Any:
        output = self.model(input_ids=input_ids)
        if len(output.logits) != len(input_ids):
            raise ValueError("the batch has grown")
        return output


def kept_activations(model: nn.Module, site: Site, source: Contexts) -> Tensor:
    return capture(model, [site], input_ids=source.ids)[site][source.keep]


def trained_like(x: Tensor) -> dict[str, Dictionary]:
    """Dictionaries that reconstruct something, but not all."""
    relu, topk = ReLU(ReLU.Config(d_in=D, width=24)), TopK(TopK.Config(d_in=D, width=48, k=4, seed=1))
    for dictionary in (relu, topk):
        dictionary.start(x)
    return {"relu": relu, "topk": topk}
