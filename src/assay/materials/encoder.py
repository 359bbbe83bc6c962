"""An encoder of sentences by name: texts in, one vector each out, the mean over its tokens' vectors.

The model is data of a wheel and is read from local files only; nothing in the wheel is imported or run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay.materials.catalogue import named
from assay.materials.fetch import fetch, silent

TEXTS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Encoder:
    """A sentence encoder whose parameters take no gradient."""

    model: nn.Module
    tokenizer: Any
    """A transformers tokenizer."""

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Float[Tensor, "N E"]:
        """Unit vectors of texts: sum_t m_t h_t / sum_t m_t over the last layer's h and the attention mask m, then normalised.

        Texts of like length are encoded together; what is beside a text changes its vector by rounding alone.
        """
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        vectors: list[Tensor] = [torch.empty(0)] * len(texts)
        for start in range(0, len(order), TEXTS_AT_ONCE):
            places = order[start : start + TEXTS_AT_ONCE]
            given = self.tokenizer(
                [texts[place] for place in places], padding=True, truncation=True, max_length=256, return_tensors="pt"
            )
            mask = given["attention_mask"][..., None].float()
            hidden = self.model(**given).last_hidden_state
            means = (hidden * mask).sum(1) / mask.sum(1)
            for place, vector in zip(places, nn.functional.normalize(means, dim=-1), strict=True):
                vectors[place] = vector
        return torch.stack(vectors)


def load_encoder(name: str = "minilm", *, report: Callable[[str], None] = silent) -> Encoder:
    """The encoder called `name` in the catalogue, fetched the first time.

    Raises UnknownName, ConfigError (not an encoder), MissingMaterial, CorruptData.
    """
    return read_encoder(fetch(named(name, "encoder").name, report=report))


def read_encoder(folder: Path) -> Encoder:
    """The encoder in a local folder of transformers. Raises MissingMaterial, CorruptData."""
    from assay.materials.language_model import quietly, require_transformers

    require_transformers()
    from transformers import AutoModel, AutoTokenizer

    with quietly():
        model = AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return Encoder(model.eval().requires_grad_(False), tokenizer)
