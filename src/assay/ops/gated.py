"""What Gated dictionaries share: a gate that decides which latents fire, and the codes on its support."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from assay.codes import SparseCodes
from assay.ops.select import select_positive


def gated_codes(
    x: Float[Tensor, "B D"],
    encoder: Float[Tensor, "L D"],
    gate_bias: Float[Tensor, " L"],
    log_rescale: Float[Tensor, " L"],
    magnitude_bias: Float[Tensor, " L"],
    center: Float[Tensor, " D"],
) -> tuple[SparseCodes, SparseCodes]:
    """relu(g) and f = 1[g > 0] relu(m) on one support; u = W (x - center), g = u + b_gate, m = exp(r) u + b_mag.

    The support gets no gradient. Source: arXiv:2404.16014, tied encoders.
    """
    products = select_positive(x, encoder, gate_bias, center)
    gate = products.with_values(products.values + products.spread(gate_bias))
    magnitude = products.spread(log_rescale.exp()) * products.values + products.spread(magnitude_bias)
    return gate, products.with_values(magnitude.relu())
