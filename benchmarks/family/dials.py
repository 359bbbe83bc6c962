"""Where on its dial a variant reaches a given L0: nobody lists it, it is looked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from assay.dictionary import Dictionary

OCTAVES = range(-4, 5)
COUNTS = (1, 2, 3, 4, 5, 6, 8, 10, 12)


def grid(settings: Dictionary.Config, counts: Sequence[int] = COUNTS, octaves: Sequence[int] = OCTAVES) -> list[float]:
    """Places to try: counts where the dial counts latents, else the default times powers of two."""
    default = settings.dial_value()
    return list(counts) if isinstance(default, int) else [default * 2.0**octave for octave in octaves]


def dials_for(wanted: Sequence[float], found: Mapping[float, float], whole: bool) -> list[float]:
    """Dials that should give some L0, from the L0 found at others; linear between logarithms. Equal ones are given once.

    From the sparse end of the dial (few latents, a large penalty) only what raises L0 counts: at the other end dead latents may lower it.
    """
    pairs = list[tuple[float, float]]()
    for dial, l0 in sorted(found.items(), reverse=not whole):
        if l0 > (pairs[-1][0] if pairs else 0):
            pairs.append((l0, dial))
    logs = [math.log(l0) for l0, _ in pairs], [math.log(dial) for _, dial in pairs]
    values = [math.exp(np.interp(math.log(l0), *logs)) for l0 in wanted]
    return list(dict.fromkeys(max(round(value), 1) if whole else float(f"{value:.4g}") for value in values))


def at_l0(points: Sequence[Mapping[str, float]], l0: float, keys: Sequence[str]) -> dict[str, float] | None:
    """Figures where an arm has L0 active latents, linear between the two nearest points; None where its points don't reach it."""
    points = sorted(points, key=lambda point: point["l0"])
    found = [point["l0"] for point in points]
    if not points or not found[0] <= l0 <= found[-1]:
        return None
    return {key: float(np.interp(l0, found, [point[key] for point in points])) for key in keys}
