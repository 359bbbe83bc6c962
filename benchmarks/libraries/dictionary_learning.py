"""dictionary_learning 0.1.0: `trainer.update(step, x)` of its own trainers, which is all that its training loop does with a batch.

Covered: forward, loss, backward, projection of the decoder's gradient, clipping where the trainer clips, Adam, the schedule,
renormalisation, and for TopK, BatchTopK and JumpReLU the firing counts; for TopK and BatchTopK also the running threshold, which its
trainers keep after 1,000 steps, so steps are numbered from far beyond. Left out: its logging, which runs a second forward pass
whenever it is asked for. No latent is dead here, so no auxiliary loss is.
"""

from __future__ import annotations

from importlib import import_module
from itertools import count
from typing import Any

import torch
from torch import Tensor

from benchmarks import libraries
from benchmarks.workload import Workload

PACKAGE = "dictionary_learning"
VARIANTS = ("gated", "relu", "jumprelu", "topk", "batch_topk")
TRAINERS = {
    "gated": ("gdm", "GatedSAETrainer"),
    "relu": ("standard", "StandardTrainer"),
    "jumprelu": ("jumprelu", "JumpReluTrainer"),
    "topk": ("top_k", "TopKTrainer"),
    "batch_topk": ("batch_top_k", "BatchTopKTrainer"),
}
FIRST, FOREVER = 10_000, 10**6


def has(variant: str) -> bool:
    return variant in VARIANTS


def build(variant: str, workload: Workload) -> DictionaryLearning:
    return DictionaryLearning(variant, workload)


class DictionaryLearning:
    """One update of the trainer a turn."""

    steps = 1

    def __init__(self, variant: str, workload: Workload) -> None:
        module, name = TRAINERS[variant]
        shape = workload.shape
        settings: dict[str, Any] = {
            "steps": FOREVER,
            "activation_dim": shape.d,
            "dict_size": shape.width,
            "layer": 0,
            "lm_name": "none",
            "lr": libraries.LEARNING_RATE,
            "warmup_steps": 0,
            "device": "cpu",
        }
        if variant in ("topk", "batch_topk"):
            settings["k"] = workload.l0
        else:
            settings["sparsity_warmup_steps"] = None
        trainers = import_module(f"dictionary_learning.trainers.{module}")
        self.trainer = getattr(trainers, name)(**settings)
        self.variant, self.batches, self.numbers = variant, workload.batches(), count(FIRST)
        fill(variant, self.trainer.ae, workload)

    def turn(self) -> None:
        self.trainer.update(next(self.numbers), next(self.batches))

    @torch.no_grad()
    def l0(self) -> float:
        rule = {"use_threshold": False} if self.variant == "batch_topk" else {}
        return libraries.active(self.trainer.ae.encode(next(self.batches), **rule))

    def parameters(self) -> list[Tensor]:
        return list(self.trainer.ae.parameters())


def fill(variant: str, ae: Any, workload: Workload) -> None:
    """Give its autoencoder the workload's weights."""
    start = workload.start
    if variant == "jumprelu":  # its encoder does not take the decoder's bias off first
        bias = start.gate_bias + ae.threshold.detach() - start.encoder @ start.decoder_bias
        libraries.put(W_enc=(ae.W_enc, start.encoder.T), W_dec=(ae.W_dec, start.atoms))
        libraries.put(b_enc=(ae.b_enc, bias), b_dec=(ae.b_dec, start.decoder_bias))
        return
    libraries.put(encoder=(ae.encoder.weight, start.encoder), decoder=(ae.decoder.weight, start.atoms.T))
    if variant == "gated":
        libraries.put(decoder_bias=(ae.decoder_bias, start.decoder_bias), r_mag=(ae.r_mag, start.log_rescale))
        libraries.put(gate_bias=(ae.gate_bias, start.gate_bias), mag_bias=(ae.mag_bias, start.magnitude_bias))
    elif variant == "relu":
        libraries.put(encoder_bias=(ae.encoder.bias, start.gate_bias), bias=(ae.bias, start.decoder_bias))
    else:
        libraries.put(encoder_bias=(ae.encoder.bias, workload.top_k_bias), b_dec=(ae.b_dec, start.decoder_bias))
