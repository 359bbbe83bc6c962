"""assay, through its public door: `train` on a store, one record of progress every ten steps."""

from __future__ import annotations

import torch
from torch import Tensor

import assay
from benchmarks import libraries
from benchmarks.workload import Workload

PACKAGE = "assay"
VARIANTS = ("gated", "relu", "jumprelu", "topk", "topk k=32", "batch_topk")
FOREVER = 10**6


def has(variant: str) -> bool:
    return variant.split()[0] in assay.Dictionary.registry.names()


def build(variant: str, workload: Workload) -> Assay:
    return Assay(variant, workload)


class Assay:
    """Ten steps between two records: reading and standardising batches, the step, firing counts and the record itself are included.

    Left out: checkpoints (no folder is given) and resampling (off by default).
    """

    steps = 10

    def __init__(self, variant: str, workload: Workload) -> None:
        kind, _, k = variant.partition(" k=")
        self.dictionary = dictionary(kind, workload, k=int(k or workload.l0))
        store = assay.ActivationStore.of(workload.rows, batch_size=workload.shape.batch)
        config = assay.TrainConfig(
            steps=FOREVER, learning_rate=libraries.LEARNING_RATE, warmup=0, decay=0, log_every=self.steps
        )
        self.training = assay.train({kind: self.dictionary}, store, config)
        self.kind, self.last = kind, float("nan")

    def turn(self) -> None:
        self.last = next(self.training).arms[self.kind].l0

    def l0(self) -> float:
        return self.last

    def parameters(self) -> list[Tensor]:
        return list(self.dictionary.parameters())


def dictionary(kind: str, workload: Workload, k: int) -> assay.Dictionary:
    """A variant at the workload's weights, its loss terms at full weight from the first step."""
    config_type = assay.Dictionary.registry.named(kind).Config
    settings = config_type(d_in=workload.shape.d, width=workload.shape.width)
    full = {name: weight.model_copy(update={"warmup": 0.0}) for name, weight in settings.weights().items()}
    known = {"k": k} if "k" in config_type.model_fields else {}
    made = config_type(d_in=workload.shape.d, width=workload.shape.width, **full, **known).build()
    made.start(workload.rows[: assay.TrainConfig().sample_rows])
    weights = {**vars(workload.start), "encoder_bias": encoder_bias(kind, made, workload)}
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name in weights:
                parameter.copy_(weights[name])
    return made


def encoder_bias(kind: str, made: assay.Dictionary, workload: Workload) -> Tensor:
    """Of variants with one path: so that it is open where the gate is, or positive for many latents where the k largest are kept."""
    if kind in ("topk", "batch_topk"):
        return workload.top_k_bias
    log_threshold = getattr(made, "log_threshold", None)
    shift = 0.0 if log_threshold is None else log_threshold.detach().exp()
    return workload.start.gate_bias + shift


SPARSE_PRODUCTS = {"gated": 6, "relu": 4, "jumprelu": 4, "topk": 4, "batch_topk": 4}
"""Vectors of width d touched for each active entry: two (read, gradient of the value) for each decode, one for the gradient of the
atoms, one for that of the encoder. Gated decodes twice, the second time through atoms that get no gradient."""


def counted_products(variant: str, l0: float, width: int) -> float:
    """Multiplications of a step in encoder products: one, and `SPARSE_PRODUCTS` times the share of entries that are active.

    Counted, not observed: torch's counter doesn't see into kernels. An active entry costs 2 d FLOP each time a vector of width d is
    read or added to for it; an encoder product costs 2 d FLOP for each of its `width` entries a row. Entries that JumpReLU's
    estimator teaches without their firing are not in the count, nor is anything that grows with B d or L d alone.
    """
    return 1 + SPARSE_PRODUCTS[variant.split()[0]] * l0 / width
