"""How the work is cut: blocks that fill the vector registers of the processor at hand, and pieces that threads take."""

from __future__ import annotations

import platform

from assay.ops.kernels.compiled import ARM, host

LANES = 16 if "+avx512f" in host()[1] else 8 if "+fma" in host()[1] else 4
"""float32 numbers in a vector register."""
MR, NV = (8, 3) if LANES == 16 or platform.machine().lower() in ARM else (6, 2)
"""Rows of x and vectors of latents in a block of products: MR NV sums, NV latents and one number of x fit into 32 or 16 registers."""
NR = NV * LANES
"""Latents of a block, and of a panel of the encoder."""
BLOCK = 64
"""Rows that are put together as one piece after a selection: a cache line of counts."""
ROWS, LATENTS = 16, 64
"""Rows and latents of a piece of the sparse passes."""
SPAN = 16
"""Panels of x in a piece of a top-k selection."""


def pieces(total: int, size: int) -> int:
    """Pieces of `size` that `total` things make."""
    return -(-total // size)
