"""Questions about entities that a model answers in one token: what it says, and what it says once its activation at the entity changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from assay.sites import Site, capture, replace

AT_ONCE = 64
"""Questions that run at once."""


@dataclass(frozen=True, eq=False)
class Questions:
    """P questions as tokens, padded at the end, each with the first tokens of the answers that it may have."""

    model: nn.Module
    site: Site
    ids: Int[Tensor, "P S"]
    length: Int[Tensor, " P"]
    entity: Int[Tensor, " P"]
    """Position of the entity's last token."""
    answers: Int[Tensor, "P V"]
    """First tokens of the answers, the first one repeated where there are fewer."""
    counts: Int[Tensor, " P"]
    """How many there are."""

    @classmethod
    def of(
        cls,
        model: nn.Module,
        site: Site,
        tokenizer: Any,
        texts: Sequence[tuple[str, str]],
        answers: Sequence[Sequence[int]],
    ) -> Questions:
        """From the text up to and with the entity, and the whole text. Raises ValueError when a token reaches beyond the entity."""
        heads, ids = (
            tokenizer([text[part] for text in texts], add_special_tokens=False)["input_ids"] for part in (0, 1)
        )
        if any(whole[: len(head)] != head for whole, head in zip(ids, heads, strict=True)):
            raise ValueError("the tokenizer joins an entity's last token with the word after it")
        longest, widest = max(map(len, ids)), max(map(len, answers))
        return cls(
            model,
            site,
            ids=torch.tensor([each + [0] * (longest - len(each)) for each in ids]),
            length=torch.tensor([len(each) for each in ids]),
            entity=torch.tensor([len(head) - 1 for head in heads]),
            answers=torch.tensor([[*each, *[each[0]] * (widest - len(each))] for each in answers]),
            counts=torch.tensor([len(each) for each in answers]),
        )

    def logits(
        self, changed: Float[Tensor, "B D"] | None = None, which: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B V"]:
        """Logits of the answers, with the activation at the entity changed unless None; gradients flow. Those beyond `counts` are -inf."""
        which = torch.arange(len(self.ids)) if which is None else which
        if len(which) > AT_ONCE:
            parts = which.split(AT_ONCE)
            rows = [None] * len(parts) if changed is None else changed.split(AT_ONCE)
            return torch.cat([self.logits(*part) for part in zip(rows, parts, strict=True)])
        rows, entity = torch.arange(len(which)), self.entity[which]

        def put(x: Tensor) -> Tensor:
            return x if changed is None else x.index_put((rows, entity), changed.to(x.dtype))

        with replace(self.model, {self.site: put}):
            said = self.model(**self._arguments(which)).logits[rows, self.length[which] - 1].float()
        beyond = torch.arange(self.answers.shape[1]) >= self.counts[which, None]
        return said.gather(1, self.answers[which]).masked_fill(beyond, -torch.inf)

    def activations(self) -> Float[Tensor, "P D"]:
        """What the site holds at each entity's last token."""
        found = []
        for which in torch.arange(len(self.ids)).split(AT_ONCE):
            x = capture(self.model, [self.site], **self._arguments(which))[self.site]
            found.append(x[torch.arange(len(which)), self.entity[which]].float())
        return torch.cat(found)

    def _arguments(self, which: Int[Tensor, " B"]) -> Mapping[str, Tensor]:
        longest = int(self.length[which].max())
        mask = torch.arange(longest) < self.length[which, None]
        return {"input_ids": self.ids[which, :longest], "attention_mask": mask.long()}
