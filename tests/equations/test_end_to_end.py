"""End-to-end SAE (arXiv:2405.12241): the three terms, whatever the model is, and that the KL of a real one falls."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assay.activations import ActivationStore, TextSource
from assay.dictionary import Dictionary
from assay.materials import load_language_model, load_texts
from assay.training import TrainConfig, train
from tests.tiny_language import write_model, write_texts


def test_terms_and_gradients_are_the_papers(layout, build, step, agree):
    """A model of one layer stands downstream: its KL is a function of raw reconstructions."""
    sae = build("end_to_end")
    with torch.no_grad():
        sae.mean.fill_(0.5)
        sae.scale.fill_(2.0)
    head = torch.randn(10, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    clean = (step.x @ head).log_softmax(-1)

    def downstream(raw):
        return (clean.exp() * (clean - (raw @ head).log_softmax(-1))).sum(1).mean()

    f = torch.relu((step.x - sae.decoder_bias) @ sae.encoder.T + sae.encoder_bias)
    xhat = f @ sae.atoms + sae.decoder_bias
    agree(
        sae,
        replace(step, downstream=downstream),
        {
            "reconstruction": (step.target - xhat).pow(2).sum(1).mean(),
            "sparsity": f.sum(1).mean(),
            "kl": downstream(2 * xhat + 0.5),
        },
    )


def test_kl_is_zero_without_a_model(build, step):
    assert build("end_to_end").losses(step).terms["kl"].item() == 0.0


@pytest.mark.parametrize("reconstruction", [0.0, 1.0], ids=["KL alone", "with reconstruction"])
def test_the_kl_of_a_model_falls(tmp_path, reconstruction):
    write_model(tmp_path / "lm")
    write_texts(tmp_path / "texts")
    lm = load_language_model(str(tmp_path / "lm"))
    source = TextSource(load_texts(str(tmp_path / "texts")), lm.tokenizer, context=16)
    store = ActivationStore.contexts(lm.model, source, "resid_post.1", contexts=8)
    config = Dictionary.registry.named("end_to_end").Config(
        d_in=16, width=48, sparsity={"value": 0.02}, reconstruction={"value": reconstruction}
    )
    logged = train({"a": config.build()}, store, TrainConfig(steps=120, learning_rate=0.01, log_every=10))
    terms = [progress.arms["a"].terms for progress in logged]
    assert terms[-1]["kl"] < 0.2 * terms[0]["kl"]
