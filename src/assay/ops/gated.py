"""What Gated dictionaries share: a gate that decides which latents fire, and the codes on its support."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from assay.codes import SparseCodes


def gated_codes(
    products: SparseCodes,
    gate_bias: Float[Tensor, " L"],
    log_rescale: Float[Tensor, " L"],
    magnitude_bias: Float[Tensor, " L"],
) -> tuple[SparseCodes, SparseCodes]:
    """relu(g) and f = 1[g > 0] relu(m) on one support; g = u + b_gate, m = exp(r) u + b_mag, for products u where g > 0.

    Source: arXiv:2404.16014, tied encoders.
    """
    gate = products.with_values(products.values + products.spread(gate_bias))
    magnitude = products.spread(log_rescale.exp()) * products.values + products.spread(magnitude_bias)
    return gate, products.with_values(magnitude.relu())
