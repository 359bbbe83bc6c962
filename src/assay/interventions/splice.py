"""The reconstruction in place of the activation: what the model can still do with what the dictionary has understood."""

from __future__ import annotations

from assay.codes import SparseCodes
from assay.edit import Edit


class Splice(Edit, name="splice", error="drop"):
    """x̂ in place of x: codes as they are, the error term dropped."""

    def __call__(self, codes: SparseCodes) -> SparseCodes:
        return codes
