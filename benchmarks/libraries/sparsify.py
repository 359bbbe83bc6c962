"""sparsify 1.3.3: the lines that its `Trainer.fit` runs for a batch, with its `SparseCoder` and the optimiser it makes by default.

Its trainer works inside a forward hook of a language model, so the body of that hook and of the loop around it stand here, in their
order: masking out excluded tokens, the decoder's unit norm, the batch's variance, forward, the fired mask, the running FVU, backward,
the gradient's projection, sign descent under schedule-free averaging, and the count of silent tokens. Left out: the language
model, W&B, distribution over processes, saving; AuxK and multi-TopK, which its default settings switch off. Triton is absent on a CPU, so
it decodes by embedding_bag, as it does there by itself.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from benchmarks import libraries
from benchmarks.workload import Workload

PACKAGE = "sparsify"
VARIANTS = ("topk", "topk k=32")
NAME = "layer"


def has(variant: str) -> bool:
    return variant in VARIANTS


def build(variant: str, workload: Workload) -> Sparsify:
    return Sparsify(workload, k=32 if variant == "topk k=32" else workload.l0)


class Sparsify:
    """One pass through the loop a turn."""

    steps = 1

    def __init__(self, workload: Workload, k: int) -> None:
        from schedulefree import ScheduleFreeWrapper
        from sparsify import SparseCoder, SparseCoderConfig, TrainConfig
        from sparsify.sign_sgd import SignSGD

        shape, start = workload.shape, workload.start
        self.cfg = TrainConfig(SparseCoderConfig(num_latents=shape.width, k=k), batch_size=shape.batch)
        self.sae = SparseCoder(shape.d, self.cfg.sae, "cpu", dtype=torch.float32)
        self.optimizer = ScheduleFreeWrapper(
            SignSGD([{"params": self.sae.parameters(), "lr": libraries.LEARNING_RATE}]), momentum=0.95
        )
        self.optimizer.train()
        self.silent = torch.zeros(shape.width, dtype=torch.long)
        self.did_fire = torch.zeros(shape.width, dtype=torch.bool)
        self.avg_fvu: dict[str, float] = defaultdict(float)
        self.batches, self.mask = workload.batches(), torch.ones(shape.batch, dtype=torch.bool)
        libraries.put(encoder=(self.sae.encoder.weight, start.encoder), W_dec=(self.sae.W_dec, start.atoms))
        libraries.put(bias=(self.sae.encoder.bias, workload.top_k_bias), b_dec=(self.sae.b_dec, start.decoder_bias))

    def turn(self) -> None:
        self.hook(next(self.batches))
        self.sae.remove_gradient_parallel_to_decoder_directions()
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            self.silent += int(self.mask.sum())
            self.silent[self.did_fire] = 0
            self.did_fire.zero_()
        self.avg_fvu.clear()

    def hook(self, outputs: Tensor) -> None:
        """The body of its forward hook: from a module's output to gradients."""
        inputs = outputs
        all_outputs = outputs.detach().clone()
        outputs, inputs = outputs[self.mask], inputs[self.mask]
        self.sae.set_decoder_norm_to_unit_norm()
        total_variance = (outputs - outputs.mean(0)).pow(2).sum()
        out = self.sae(x=inputs, y=outputs, dead_mask=None, total_variance=total_variance)
        self.did_fire[out.latent_indices.flatten()] = True
        self.avg_fvu[NAME] += float(out.fvu.detach())
        loss = out.fvu + self.cfg.auxk_alpha * out.auxk_loss + out.multi_topk_fvu / 8
        loss.div(1).backward()
        del all_outputs

    @torch.no_grad()
    def l0(self) -> float:
        return libraries.active(self.sae.encode(next(self.batches)).top_acts)

    def parameters(self) -> list[Tensor]:
        return list(self.sae.parameters())
