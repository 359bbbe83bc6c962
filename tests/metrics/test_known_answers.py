"""Every metric against dictionaries made by hand, whose scores follow from how they were made; and the suite against broken metrics."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from assay.metric import Metric, Rows, Summed
from assay.testing import check_metric, known_scores
from assay.testing.metrics import Known

ZERO = {"zero": 0.0}
NEVER = {"zero": None, "mean": None}
KNOWN: dict[str, dict[str, Known]] = {
    "ce_clean": {},
    "ce_mean": {},
    "ce_spliced": {},
    "ce_zero": {},
    "kl_mean": {},
    "kl_zero": {},
    "kl": {"identity": 0.0},
    "kl_recovered_mean": {"identity": 1.0, "mean": 0.0, "zero": (-9, 0)},
    "kl_recovered_zero": {"identity": 1.0, **ZERO},
    "loss_recovered_mean": {"identity": 1.0, "mean": 0.0, "zero": (-9, 0)},
    "loss_recovered_zero": {"identity": 1.0, **ZERO},
    "cosine": {"oracle": 1.0, "identity": 1.0, **ZERO, "random": (0.3, 0.8)},
    "explained_variance": {"oracle": 1.0, "identity": 1.0, "mean": 0.0, "zero": (-9, 0), "random": (0, 0.6)},
    "explained_variance_by_token": {"oracle": 1.0, "identity": 1.0, "mean": 0.0, "random": (0, 0.6)},
    "mse": {"oracle": 0.0, "identity": 0.0},
    "nmse": {"oracle": 0.0, "identity": 0.0, "zero": 1.0, "random": (0.3, 1)},
    "length_ratio": {"oracle": 1.0, "identity": 1.0, **ZERO, "random": (0.3, 0.9)},
    "relative_reconstruction_bias": {"oracle": 1.0, "identity": 1.0, **NEVER},
    "relative_reconstruction_bias_raw": {"oracle": 1.0, "identity": 1.0, "zero": None, "mean": 1.0},
    "l0": {"oracle": (3, 4.2), "absorbing": (1.5, 2.2), "zero": 0.0, "mean": 0.0},
    "l1": {"oracle": (3, 4.2), "zero": 0.0, "mean": 0.0},
    "dead_fraction": {"oracle": 0.0, "identity": 0.0, "zero": 1.0, "mean": 1.0},
    "density": {"identity": (0.35, 0.5), **NEVER},
    "firings_per_document": NEVER,
    "over_1_percent": {"oracle": 1.0, "identity": 1.0, "zero": 0.0, "mean": 0.0},
    "over_10_percent": {"absorbing": 0.0, "identity": 1.0, "zero": 0.0, "mean": 0.0},
    "firings_over_1_percent": {"oracle": 1.0, "identity": 1.0, **NEVER},
    "firings_over_10_percent": {"absorbing": 0.0, "identity": 1.0, **NEVER},
    "decoder_similarity": {"oracle": 0.0, "absorbing": 0.5**0.5, "random": 0.0, "identity": 0.0},
    "encoder_similarity": {"oracle": 0.0, "random": 0.0, "identity": 0.0, **ZERO},
    "encoder_decoder_cosine": {"oracle": 1.0, "random": 1.0, "identity": 1.0, "absorbing": (0, 0.9), **ZERO},
}


@pytest.mark.parametrize("name", Metric.registry.names())
def test_every_metric_passes_the_suite_and_has_its_known_scores(name: str) -> None:
    assert name in KNOWN, "give its scores on the hand-made dictionaries"
    check_metric(Metric.registry.named(name), **KNOWN[name])


def test_identity_zero_and_mean_are_the_ends_of_the_raw_numbers() -> None:
    for kind in ("ce", "kl"):
        ends = {name: known_scores(Metric.registry.named(f"{kind}_{name}"))["identity"] for name in ("zero", "mean")}
        spliced = known_scores(Metric.registry.named("kl" if kind == "kl" else "ce_spliced"))
        assert {name: spliced[name] for name in ends} == ends


class _Temporary(Summed, abstract=True):
    unit, better, reads = "units", "lower", "rows"

    def parts(self, batch: Rows) -> Tensor:
        return batch.codes.l0().double()[:, None]


def broken(**methods: object) -> type[Metric]:
    """A metric that is registered only while it is checked."""
    body = {"__doc__": "E |f|", "name": "broken", **methods}
    return type("Broken", (_Temporary,), body, abstract=True)  # pyright: ignore


def per_batch_mean(self: object, batch: Rows) -> Tensor:
    return torch.full((len(batch.x), 1), float(batch.x.sum()), dtype=torch.float64)


def zeroing(self: object, batch: Rows) -> Tensor:
    batch.x.zero_()
    return batch.codes.l0().double()[:, None]


def drawing(self: object, batch: Rows) -> Tensor:
    torch.rand(1)
    return batch.codes.l0().double()[:, None]


@pytest.mark.parametrize(
    ("methods", "rule"),
    [
        ({"parts": per_batch_mean}, "check_streams.*batches of 1 give"),
        ({"parts": zeroing}, "check_changes_nothing.*stays as it was"),
        ({"parts": drawing}, "check_changes_nothing.*no global randomness"),
        ({"__doc__": "How many."}, "check_description.*formula"),
        ({"unit": ""}, "check_description.*unit"),
        ({"parts": lambda self, batch: torch.arange(len(batch.x), dtype=torch.float64)[:, None]}, "check_streams"),
        ({"parts": lambda self, batch: batch.codes.values.double()[:, :1]}, "check_streams|check_layouts"),
    ],
)
def test_a_broken_metric_is_found_out(methods: dict[str, object], rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = broken(**methods)
    monkeypatch.setitem(Metric.registry._members, "broken", metric)
    with pytest.raises(AssertionError, match=rule):
        check_metric(metric)


def test_wrong_scores_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = broken()
    monkeypatch.setitem(Metric.registry._members, "broken", metric)
    check_metric(metric, zero=0.0, oracle=(3, 4.2))
    with pytest.raises(AssertionError, match="of the zero dictionary is 1"):
        check_metric(metric, zero=1.0)
    with pytest.raises(AssertionError, match="of the zero dictionary is None"):
        check_metric(metric, zero=None)
    assert not math.isnan(known_scores(metric)["zero"])
