"""A dictionary of a dictionary: what its atoms are composed of (meta-SAEs, Bussmann et al. 2024)."""

from __future__ import annotations

from assay.activations.store import ActivationStore
from assay.dictionary import Dictionary
from assay.errors import ShapeMismatch
from assay.training.trainer import TrainConfig, train


def train_on_atoms(
    dictionary: Dictionary, settings: Dictionary.Config, config: TrainConfig, *, batch_size: int = 1024
) -> Dictionary:
    """A new dictionary of any variant, trained on the L atoms of another as if they were activations; `analysis.decompose` reads it.

    It keeps the provenance of the other. Raises ShapeMismatch, and what `train` raises.
    """
    if settings.d_in != dictionary.config.d_out:
        raise ShapeMismatch(
            f"settings for activations that are {settings.d_in} wide",
            expected=f"{dictionary.config.d_out}, the width of the atoms",
            do="Set d_in to it.",
        )
    atoms, meta = dictionary.atoms.detach(), settings.build()
    store = ActivationStore.of(atoms, batch_size=min(batch_size, len(atoms)), seed=config.seed)
    for _ in train({"meta": meta}, store, config):
        pass
    meta.provenance = {**dictionary.provenance, "atoms_of": dictionary.config.digest()}
    return meta
