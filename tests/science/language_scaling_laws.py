"""The laws of scale (arXiv:2406.04093) in a finished run of the recipe `scaling_laws`, and TopK against ReLU at equal L0.

python -m tests.science.language_scaling_laws runs/scaling_laws
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assay.analysis.scaling_law import extrapolation_error, fit_joint_law, fit_power_law
from assay.record import Record
from assay.run import kept
from assay.run.stages import Workspace

RESULT = Path(__file__).resolve().parents[2] / "docs" / "results" / "scaling_laws.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    workspace = Workspace.open(parser.parse_args().folder)
    measured = kept.read_measurements(workspace.folder)
    if measured is None:
        raise SystemExit(f"{workspace.folder} holds no evaluation")
    result = {
        "meta": {"command": "python -m tests.science.language_scaling_laws", "machine": measured.records[0].machine},
        "laws": laws([record for record in measured.records if record.variant == "topk"]),
        "against_relu": against_relu(measured.records),
        "records": [record.resolved() for record in measured.records],
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: result[key] for key in ("laws", "against_relu")}, indent=1))


def laws(records: Sequence[Record]) -> dict[str, Any]:
    """The power law of the width at each k, how well it foretells the widest, and the joint law."""
    errors = {(record.width, int(record.dial)): error_of(record) for record in records}
    found: dict[str, Any] = {}
    for k in sorted({k for _, k in errors}):
        widths = sorted(width for width, other in errors if other == k)
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


if __name__ == "__main__":
    main()
