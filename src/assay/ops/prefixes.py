"""Lengths of nested prefixes that are drawn anew in each step, without a generator whose state would have to be kept."""

from __future__ import annotations

import torch
import xxhash


def drawn_prefixes(width: int, count: int, seed: int, step: int) -> list[int]:
    """`count` lengths M from 1 to `width`, rising, with P(M > m) = (m^-1/2 - L^-1/2) / (1 - L^-1/2): a pure function of seed and step."""
    key = xxhash.xxh3_64_intdigest(f"prefixes {seed} {step}".encode()) >> 1
    uniform = torch.rand(count, generator=torch.Generator().manual_seed(key), dtype=torch.float64)
    lengths = (1 - uniform * (1 - width**-0.5)) ** -2
    return sorted(lengths.ceil().long().clamp(1, width).tolist())
