"""What every edit shares: sparse codes in, sparse codes out, and whether what the dictionary missed stays in the activation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, TypeAlias

from assay.codes import SparseCodes
from assay.registry import Registry

ErrorTerm: TypeAlias = Literal["keep", "drop"]
"""What becomes of x - x̂, the part of an activation that a dictionary does not reconstruct, when its codes are edited."""


class Edit(ABC):
    """A change of codes. `error` says what becomes of the error term unless the caller says otherwise."""

    registry: ClassVar[Registry[type[Edit]]] = Registry("edit", "assay.interventions")
    name: ClassVar[str]
    error: ClassVar[ErrorTerm]

    def __init_subclass__(cls, *, name: str, error: ErrorTerm = "keep") -> None:
        cls.name, cls.error = name, error
        Edit.registry.add(name, cls)

    @abstractmethod
    def __call__(self, codes: SparseCodes) -> SparseCodes:
        """Edited codes of the same rows and width; the codes that were given stay as they are."""
