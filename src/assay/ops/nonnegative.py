"""Non-negative matrix factorisation by multiplicative updates (Lee and Seung 1999), and the codes of rows for given parts."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from assay.codes import SparseCodes

ROWS_AT_ONCE = 4096
"""Rows whose table of codes is there at once."""


def split_signs(x: Float[Tensor, "B D"]) -> Float[Tensor, "B E"]:
    """[relu(x), relu(-x)], twice as wide and nowhere negative."""
    return torch.cat([x.relu(), (-x).relu()], 1)


def factorise(
    v: Float[Tensor, "B E"], count: int, *, rounds: int, generator: torch.Generator
) -> Float[Tensor, "count E"]:
    """Parts A >= 0 of unit norm that make ||v - H A||^2 small for some H >= 0.

    In turn  H <- H * (v A^T) / (H A A^T)  and  A <- A * (H^T v) / (H^T H A),  from random rows of v, lifted off zero.
    """
    tiny, floor = torch.finfo(v.dtype).eps, 0.1 * v.mean()
    drawn = torch.randint(len(v), (count,), generator=generator).to(v.device)
    parts = v[drawn] + floor
    codes = v.new_full((len(v), count), 1 / count)
    for _ in range(rounds):
        codes = codes * (v @ parts.T) / (codes @ (parts @ parts.T) + tiny)
        parts = parts * (codes.T @ v) / (codes.T @ codes @ parts + tiny)
        length = parts.norm(dim=1, keepdim=True).clamp_min(tiny)
        codes, parts = codes * length.T, parts / length
    return parts


def nonnegative_codes(v: Float[Tensor, "B E"], parts: Float[Tensor, "L E"], k: int, *, rounds: int) -> SparseCodes:
    """The k largest of each row of H, after some rounds of  H <- H * (v A^T) / (H A A^T)  from where all codes are 1 / L.

    Products are made in the dtype of `v`, under autocast too, so that codes have that of the atoms which decode them.
    """
    latents, values = [], []
    with torch.autocast(v.device.type, enabled=False):
        tiny, gram = torch.finfo(v.dtype).eps, parts @ parts.T
        for rows in v.split(ROWS_AT_ONCE):
            wanted = rows @ parts.T
            codes = torch.full_like(wanted, 1 / len(parts))
            for _ in range(rounds):
                codes = codes * wanted / (codes @ gram + tiny)
            kept = codes.topk(k, dim=1).indices.sort(dim=1).values
            latents.append(kept.flatten())
            values.append(codes.gather(1, kept).flatten())
    offsets = torch.arange(len(v) + 1, device=v.device) * k
    return SparseCodes.csr(offsets, torch.cat(latents), torch.cat(values), len(parts))
