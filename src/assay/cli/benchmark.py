"""assay benchmark: how much of a planted dictionary each variant finds."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

import tyro

from assay.cli.arguments import Switch, print_json
from assay.cli.live import note
from assay.disk import write_json
from assay.record import Record, machine
from assay.reports.matrix import matrix
from assay.run.benchmark import Benchmark, benchmark

Score = Literal["f1", "mcc", "code_correlation", "mmcs", "absorption", "dead", "l0", "explained_variance"]


def run(
    settings: tyro.conf.OmitArgPrefixes[Benchmark] = Benchmark(),  # noqa: B008 - it is frozen
    score: Score = "f1",
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    json: Switch = False,
) -> int:
    """Benchmark.

    Args:
        settings: What is planted, and how long is learnt from it.
        score: What the table shows.
        out: Write everything to this JSON file as well.
        json: Print everything as JSON.
    """
    skipped: dict[str, str] = {}
    found: list[tuple[str, Record]] = []

    def skip(variant: str, reason: str) -> None:
        skipped[variant] = reason
        note(f"{variant} is left out: {reason}")

    for kind, record in benchmark(settings, skip):
        found.append((kind, record))
        values = record.values
        note(f"{record.arm}: F1 {values['f1']:.3f} at L0 {values['l0']:.1f}, {values['seconds']:.1f} s")
    result = {
        "settings": settings.resolved(),
        "machine": machine(),
        "records": [{"kind": kind, **record.row()} for kind, record in found],
        "skipped": skipped,
    }
    if out is not None:
        write_json(out, result)
    if json:
        print_json(result)
    else:
        print(matrix(_means(found, score), title=score, best_first=score not in ("absorption", "dead", "l0")))
    return 0


def _means(found: list[tuple[str, Record]], score: str) -> dict[str, dict[str, float | None]]:
    """Mean over seeds by variant and kind."""
    values: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for kind, record in found:
        values[record.variant][kind].append(record.values[score])
    return {
        variant: {kind: None if None in each else fmean(each) for kind, each in kinds.items()}
        for variant, kinds in values.items()
    }
