"""Hand-made records and reports for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from assay.analysis.examples import Example, LatentPage, TokenScore
from assay.record import Record
from assay.reports import Curve, Explanation, Histogram, Report

MakeRecord = Callable[..., Record]


@pytest.fixture
def make_record() -> MakeRecord:
    """A record of a variant, dial and L0; `values` are added to it."""

    def make(
        variant: str, dial: float, l0: float | None, seed: int = 0, arm: str = "", **values: float | None
    ) -> Record:
        return Record(
            arm=arm or f"{variant}-{dial:g}-s{seed}",
            variant=variant,
            dial=dial,
            seed=seed,
            width=64,
            tokens=1000,
            config_digest="0" * 32,
            values={"l0": l0, **values},
        )

    return make


@pytest.fixture
def make_latent() -> Callable[..., LatentPage]:
    """A latent whose one top and one quantile example show given tokens."""

    def make(*tokens: str, arm: str = "gated-0.1-s0") -> LatentPage:
        values = tuple(float(place) for place in range(len(tokens)))
        scores = tuple(TokenScore(token=token, score=1.5) for token in tokens)
        places: dict[str, Any] = {
            "document": 3,
            "position": 40,
            "tokens": tokens,
            "values": values,
            "peak": len(tokens) - 1,
        }
        return LatentPage(
            arm=arm,
            latent=7,
            density=0.0025,
            maximum=max(values) or 1.0,
            raised=scores,
            lowered=scores,
            examples=(
                Example(kind="top", low=1.0, high=1.0, **places),
                Example(kind="quantile", low=0.25, high=0.5, **places),
            ),
        )

    return make


@pytest.fixture
def report(make_record: MakeRecord, make_latent: Callable[..., LatentPage]) -> Report:
    """A small report with something in every section."""
    entropies = {"ce_clean": 3.0, "ce_zero": 11.0, "ce_mean": 6.0}
    records = [
        make_record(
            variant,
            dial,
            l0,
            loss_recovered_zero=recovered,
            loss_recovered_mean=recovered - 0.1,
            explained_variance=recovered - 0.2,
            relative_reconstruction_bias=bias,
            dead_fraction=0.125,
            ce_spliced=11 - 8 * recovered,
            kl=0.2,
            **entropies,
        )
        for variant, bias, points in (
            ("gated", 1.0, [(0.1, 40.0, 0.96), (0.2, 10.0, 0.90)]),
            ("relu", 0.85, [(0.1, 40.0, 0.94), (0.2, 10.0, 0.86)]),
        )
        for dial, l0, recovered in points
    ]
    curve = Curve(
        step=(1, 2, 3),
        tokens=(1000, 2000, 3000),
        l0=(90.0, 50.0, 40.0),
        explained_variance=(-2.0, 0.5, 0.7),
        dead_fraction=(0.0, 0.1, 0.125),
        loss=(3.0, 2.0, 1.0),
    )
    histogram = Histogram(edges=(-3.0, -2.0, -1.0, 0.0), counts=(10, 40, 6), dead=8)
    return Report(
        title="A small report",
        command="assay demo",
        provenance={"model": "tiny", "site": "resid_post.1", "rows harvested": 200_704},
        metrics={"l0": Explanation(unit="latents per token", better="target", formula="E |{l : f_l ≠ 0}|")},
        records=tuple(records),
        curves={record.arm: curve for record in records},
        densities={record.arm: histogram for record in records},
        latents=(make_latent(" the", " cat", " sat"),),
        timings={"harvest": 41.7, "train": 233.0},
    )
