"""Activations of a model: what it is shown (source), one pass over it (harvest), and rows in a keyed order (store)."""

from assay.activations.harvest import harvest
from assay.activations.source import Inputs, Source, TensorSource, TextSource
from assay.activations.store import ActivationStore

__all__ = ["ActivationStore", "Inputs", "Source", "TensorSource", "TextSource", "harvest"]
