"""Take a neural network's activations apart into a sparse dictionary of directions, and show what each one means and does.

Names are loaded when they are first used, so that `import assay` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from assay.activations import ActivationStore, TensorSource, TextSource, harvest
    from assay.analysis.evaluate import evaluate, evaluate_model
    from assay.analysis.examples import describe_latents
    from assay.codes import SparseCodes
    from assay.dictionary import Dictionary, Pass, Step, Weight
    from assay.errors import AssayError
    from assay.interventions import intervene
    from assay.materials import load_language_model, load_texts
    from assay.record import Record
    from assay.run import Run
    from assay.sites import Site, capture, locate, replace
    from assay.training import TrainConfig, train

_HOMES = {
    "ActivationStore": "activations",
    "AssayError": "errors",
    "Dictionary": "dictionary",
    "Pass": "dictionary",
    "Record": "record",
    "Run": "run",
    "Site": "sites",
    "SparseCodes": "codes",
    "Step": "dictionary",
    "TensorSource": "activations",
    "TextSource": "activations",
    "TrainConfig": "training",
    "Weight": "dictionary",
    "capture": "sites",
    "describe_latents": "analysis.examples",
    "evaluate": "analysis.evaluate",
    "evaluate_model": "analysis.evaluate",
    "harvest": "activations",
    "intervene": "interventions",
    "load_language_model": "materials",
    "load_texts": "materials",
    "locate": "sites",
    "replace": "sites",
    "train": "training",
}

__all__ = [
    "ActivationStore",
    "AssayError",
    "Dictionary",
    "Pass",
    "Record",
    "Run",
    "Site",
    "SparseCodes",
    "Step",
    "TensorSource",
    "TextSource",
    "TrainConfig",
    "Weight",
    "capture",
    "describe_latents",
    "evaluate",
    "evaluate_model",
    "harvest",
    "intervene",
    "load_language_model",
    "load_texts",
    "locate",
    "replace",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'assay' has no attribute {name!r}")
    return getattr(importlib.import_module(f"assay.{_HOMES[name]}"), name)
