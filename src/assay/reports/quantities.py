"""How numbers are named and printed, in one place: labels, digits, percent, and a dash for what is not defined."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

UNDEFINED = "–"
"""Printed where a number is not defined."""


@dataclass(frozen=True)
class Quantity:
    """A number that reports print."""

    key: str
    """Its name in a record."""
    label: str
    """Its name in a heading."""
    decimals: int
    """Digits after the point, the same in a whole column."""
    percent: bool = False
    """Whether it is a share that reads better as a percentage."""

    def shown(self, value: float | None) -> str:
        """The number as text, without its percent sign."""
        if value is None:
            return UNDEFINED
        return number(100 * value if self.percent else value, self.decimals)


L0 = Quantity("l0", "L0", 1)
LOSS_ZERO = Quantity("loss_recovered_zero", "Loss recovered (zero)", 3)
LOSS_MEAN = Quantity("loss_recovered_mean", "Loss recovered (mean)", 3)
EXPLAINED = Quantity("explained_variance", "Explained variance", 3)
GAMMA = Quantity("relative_reconstruction_bias", "Reconstruction bias γ", 3)
DEAD = Quantity("dead_fraction", "Dead", 1, percent=True)
CLEAN = Quantity("ce_clean", "clean", 3)
SPLICED = Quantity("ce_spliced", "spliced", 3)
ZERO = Quantity("ce_zero", "zero", 3)
MEAN = Quantity("ce_mean", "mean", 3)

MAIN = (L0, LOSS_ZERO, LOSS_MEAN, EXPLAINED, GAMMA, DEAD, CLEAN, SPLICED, ZERO, MEAN)
"""What every table shows, in this order."""
OTHERS = (
    Quantity("kl", "KL from clean, nats", 3),
    Quantity("kl_zero", "KL of zero", 3),
    Quantity("kl_mean", "KL of mean", 3),
    Quantity("kl_recovered_zero", "KL recovered (zero)", 3),
    Quantity("kl_recovered_mean", "KL recovered (mean)", 3),
    Quantity("cosine", "Cosine", 3),
    Quantity("relative_reconstruction_bias_raw", "γ with the mean", 3),
    Quantity("length_ratio", "Length ratio", 3),
    Quantity("mse", "Squared error", 4),
    Quantity("nmse", "Error / squared length", 4),
    Quantity("explained_variance_by_token", "Variance by token", 3),
    Quantity("density", "Median density, %", 3, percent=True),
    Quantity("over_1_percent", "Latents over 1 %, %", 1, percent=True),
    Quantity("over_10_percent", "Latents over 10 %, %", 1, percent=True),
    Quantity("firings_over_1_percent", "Firings by those over 1 %, %", 1, percent=True),
    Quantity("firings_over_10_percent", "Firings by those over 10 %, %", 1, percent=True),
    Quantity("firings_per_document", "Firings per document", 2),
    Quantity("l1", "L1", 2),
    Quantity("decoder_similarity", "Decoder similarity", 3),
    Quantity("encoder_similarity", "Encoder similarity", 3),
    Quantity("encoder_decoder_cosine", "Encoder and decoder", 3),
)
KNOWN = {quantity.key: quantity for quantity in (*MAIN, *OTHERS)}


def quantity(key: str, values: Iterable[float | None]) -> Quantity:
    """A known quantity, or one with three significant digits at its largest value."""
    if key in KNOWN:
        return KNOWN[key]
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    decimals = 2 - math.floor(math.log10(largest)) if largest > 0 else 0
    return Quantity(key, key.replace("_", " "), min(max(decimals, 0), 6))


def number(value: float, decimals: int) -> str:
    """Fixed decimals, thousands set apart, a true minus sign, and no minus before zero."""
    text = f"{value:,.{decimals}f}"
    return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", "−")


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, never in exponent form."""
    if value == 0:
        return "0"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return number(float(f"{value:.{digits}g}"), decimals)


def brief(value: float) -> str:
    """A number with at most three significant digits and no closing zeros, as it stands in a sentence."""
    text = significant(value)
    return text.rstrip("0").rstrip(".") if "." in text else text
