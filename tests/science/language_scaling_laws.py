"""The laws of scale (arXiv:2406.04093) on a language model, and TopK against ReLU at equal L0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from assay.analysis.scaling_law import extrapolation_error, fit_joint_law, fit_power_law
from assay.record import Record
from assay.run.stages import Workspace
from tests.science.claims import Claim
from tests.science.language import Reading, reading, records

SECTION = "10 TopK"
LEAST = 4
"""Widths at one k from which a law is fitted."""


@reading(
    "scaling_laws",
    "SmolLM2-135M, residual stream after block 9; 160,000 rows, 400 steps of 2,048; widths 256 to 4,096, k 16, 32 and 64; NMSE is the "
    "share of variance that is not explained",
    Claim(SECTION, "topk", "NMSE falls as a power of the width", "NMSE of the widest over the foretold, worst k", "<= 0.1"),
    Claim(SECTION, "topk", "Less error than ReLU at equal L0", "worst NMSE over ReLU's", "<= 1"),
)  # fmt: skip
def read(workspace: Workspace) -> Reading:
    measured = records(workspace)
    found, against = laws([record for record in measured if record.variant == "topk"]), against_relu(measured)
    figures = {
        "NMSE of the widest over the foretold, worst k": max(
            abs(law["error_at_the_widest"]) for name, law in found.items() if name != "joint"
        ),
        "worst NMSE over ReLU's": max(row["topk"] / row["relu"] for row in against),
    }
    (seed,) = workspace.run.seeds
    return Reading({seed: figures}, {"laws": found, "against_relu": against})


def laws(records: Sequence[Record]) -> dict[str, Any]:
    """The power law of the width at each k, how well it foretells the widest, and the joint law."""
    errors = {(record.width, int(record.dial)): error_of(record) for record in records}
    found: dict[str, Any] = {}
    for k in sorted({k for _, k in errors}):
        widths = sorted(width for width, other in errors if other == k)
        if len(widths) < LEAST:
            continue
        at_k = [errors[width, k] for width in widths]
        law = vars(fit_power_law(widths, at_k))
        found[f"k {k}"] = {
            "widths": widths,
            "nmse": at_k,
            **law,
            "error_at_the_widest": extrapolation_error(widths, at_k),
        }
    widths, ks = zip(*errors, strict=True)
    return {**found, "joint": vars(fit_joint_law(widths, ks, list(errors.values())))}


def against_relu(records: Sequence[Record]) -> list[dict[str, float]]:
    """NMSE of TopK at each k, and of ReLU of the same width, interpolated in log L0."""
    relu = sorted(
        (record for record in records if record.variant == "relu"), key=lambda record: record.values["l0"] or 0
    )
    l0s = [float(record.values["l0"] or 0) for record in relu]
    rows = []
    for record in records:
        if record.variant == "topk" and record.width == relu[0].width and l0s[0] <= record.dial <= l0s[-1]:
            baseline = np.interp(np.log(record.dial), np.log(l0s), [error_of(each) for each in relu])
            rows.append({"k": record.dial, "topk": error_of(record), "relu": float(baseline)})
    return rows


def error_of(record: Record) -> float:
    """NMSE: 1 - explained variance."""
    explained = record.values["explained_variance"]
    if explained is None:
        raise SystemExit(f"{record.arm} has no explained variance")
    return 1 - explained
