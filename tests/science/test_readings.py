"""What readings of a run on a language model make of its records."""

from __future__ import annotations

import math

from assay.record import Record
from assay.reports.families import Family
from tests.science.language import Line
from tests.science.language_end_to_end import enough


def points(*pairs: tuple[float, float]) -> Line:
    records = (
        Record(
            arm=f"a-{l0}", variant="relu", dial=l0, seed=0, width=8, tokens=1000, config_digest="",
            values={"l0": l0, "loss_recovered_zero": recovered},
        )
        for l0, recovered in pairs
    )  # fmt: skip
    return Line(Family("a", 0, tuple(records)))


def test_the_sparsest_that_recovers_what_the_best_other_does() -> None:
    other = points((10.0, 0.7), (40.0, 0.8), (60.0, 0.75))
    assert enough(points((5.0, 0.6), (16.0, 0.81), (30.0, 0.9)), other) == 0.4
    assert enough(points((5.0, 0.6), (16.0, 0.79)), other) == math.inf
