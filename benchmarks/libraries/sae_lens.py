"""SAELens 6.54.12: `SAETrainer.step(batch)` on its training SAEs, and what its `fit` does around it at every step.

Covered: its activation scaler (none is set), forward, losses, firing statistics, backward, clipping, Adam, the schedules, and the
check whether the sparsity window is full. Left out: W&B logging (off in its `SAETrainerConfig`), evaluations, checkpoints, the progress
bar. As in `fit`, the output of a step is held until the next one is made. Settings are its defaults: unnormalised activations, decoder
norm free. No latent is dead here, so no auxiliary loss is.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import Tensor

from benchmarks import libraries
from benchmarks.workload import Workload

PACKAGE = "sae_lens"
VARIANTS = ("gated", "relu", "jumprelu", "topk", "topk sparse", "batch_topk")
CLASSES = {
    "gated": ("gated_sae", "GatedTrainingSAE"),
    "relu": ("standard_sae", "StandardTrainingSAE"),
    "jumprelu": ("jumprelu_sae", "JumpReLUTrainingSAE"),
    "topk": ("topk_sae", "TopKTrainingSAE"),
    "topk sparse": ("topk_sae", "TopKTrainingSAE"),
    "batch_topk": ("batchtopk_sae", "BatchTopKTrainingSAE"),
}
FOREVER = 10**12


def has(variant: str) -> bool:
    return variant in VARIANTS


def build(variant: str, workload: Workload) -> SAELens:
    return SAELens(variant, workload)


class SAELens:
    """One step of the trainer a turn.

    `topk sparse` sets its `use_sparse_activations`, which is off by default, and for that turns off the rescaling of codes by
    decoder norms, whose gradient torch cannot compute on sparse tensors on a CPU.
    """

    steps = 1

    def __init__(self, variant: str, workload: Workload) -> None:
        module, name = CLASSES[variant]
        saes = import_module(f"sae_lens.saes.{module}")
        shape = workload.shape
        settings: dict[str, Any] = {"d_in": shape.d, "d_sae": shape.width}
        if variant.startswith(("topk", "batch_topk")):
            settings["k"] = workload.l0
        if variant == "topk sparse":
            settings |= {"use_sparse_activations": True, "rescale_acts_by_decoder_norm": False}
        self.sae = getattr(saes, name)(getattr(saes, f"{name}Config")(**settings))
        self.trainer = trainer(self.sae, workload)
        self.output: Any = None
        fill(variant, self.sae, workload)

    def turn(self) -> None:
        self.trainer.maybe_reset_sparsity()
        self.output = self.trainer.step(next(self.trainer.data_provider))
        self.trainer.n_training_steps += 1

    def l0(self) -> float:
        return libraries.active(self.output.feature_acts)

    def parameters(self) -> list[Tensor]:
        return list(self.sae.parameters())


def trainer(sae: Any, workload: Workload) -> Any:
    """Its trainer, with its defaults but for the learning rate."""
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    config = SAETrainerConfig(
        total_training_samples=FOREVER,
        train_batch_size_samples=workload.shape.batch,
        lr=libraries.LEARNING_RATE,
        lr_end=libraries.LEARNING_RATE / 10,  # as its runner sets it; the constant schedule never gets there
    )
    return SAETrainer(config, sae, data_provider=workload.batches())


def fill(variant: str, sae: Any, workload: Workload) -> None:
    """Give its SAE the workload's weights."""
    start = workload.start
    libraries.put(W_enc=(sae.W_enc, start.encoder.T), W_dec=(sae.W_dec, start.atoms))
    libraries.put(b_dec=(sae.b_dec, start.decoder_bias))
    if variant == "gated":
        libraries.put(b_gate=(sae.b_gate, start.gate_bias), b_mag=(sae.b_mag, start.magnitude_bias))
        libraries.put(r_mag=(sae.r_mag, start.log_rescale))
    elif variant == "jumprelu":
        libraries.put(b_enc=(sae.b_enc, start.gate_bias + sae.threshold.detach()))
    else:
        libraries.put(b_enc=(sae.b_enc, start.gate_bias if variant == "relu" else workload.top_k_bias))
