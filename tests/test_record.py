"""A record carries the numbers and all that is needed to measure them again."""

from __future__ import annotations

import math

import pytest
import torch

from assay.analysis.evaluate import evaluate, to_record
from assay.dictionaries.topk import TopK


def test_a_record_says_what_was_measured() -> None:
    dictionary = TopK(TopK.Config(d_in=16, width=40, k=3, seed=5))
    x = torch.randn(20, 16, generator=torch.Generator().manual_seed(0))
    record = to_record("topk-3", dictionary, evaluate({"a": dictionary}, [x])["a"])
    assert (record.arm, record.variant, record.dial, record.seed, record.width) == ("topk-3", "topk", 3, 5, 40)
    assert record.tokens == 20
    assert record.config_digest == dictionary.config.digest()
    assert record.values["l0"] == pytest.approx(3, abs=0.5)
    assert all(value is None or math.isfinite(value) for value in record.values.values())
    assert record.machine
