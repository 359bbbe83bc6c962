"""assay plan: what a harvest and a training of some size would cost."""

from __future__ import annotations

from dataclasses import asdict

import tyro

from assay.cli.arguments import Switch, print_json
from assay.scale import Workload, advice, figures, report


def run(work: tyro.conf.OmitArgPrefixes[Workload] = Workload(), json: Switch = False) -> int:  # noqa: B008 - it is frozen
    """Plan: bytes, GPUs and hours by arithmetic, each with its formula.

    Args:
        work: What is planned, and what is assumed.
        json: Print as JSON, in bytes, seconds and hours.
    """
    if json:
        found = {name: asdict(figure) for name, figure in figures(work).items()}
        print_json({"assumptions": asdict(work), "figures": found, "advice": advice(work)})
    else:
        print(report(work))
    return 0
