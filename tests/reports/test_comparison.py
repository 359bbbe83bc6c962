"""Comparisons whose answers are known: lines in log L0 that were made, pairs that cancel, and sides that share no L0."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from assay.analysis.bootstrap import Drawing
from assay.errors import ConfigError
from assay.record import Record
from assay.reports.compared import text
from assay.reports.comparison import Side, compare

DOCUMENTS, ROWS = 40, 100.0
DRAWING = Drawing(draws=300)
Line = Callable[[float], float]


def side(
    label: str,
    line: Line,
    l0s: tuple[float, ...] = (10, 20, 40, 80),
    *,
    seeds: tuple[int, ...] = (0,),
    by_document: float = 0.0,
    own: float = 0.0,
    by_seed: float = 0.0,
    text: str = "text",
) -> Side:
    """Explained variance follows `line` of log2 L0, plus what documents (common, own) and seeds add to it."""
    arms = []
    common = torch.randn(DOCUMENTS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for seed in seeds:
        for dial, l0 in enumerate(l0s):
            noise = torch.randn(
                DOCUMENTS, generator=torch.Generator().manual_seed(1000 * sum(map(ord, label)) + 100 * seed + dial)
            )
            value = line(math.log2(l0)) + by_document * common + own * noise.double() + by_seed * (seed - 1)
            rows = torch.full((DOCUMENTS,), ROWS, dtype=torch.float64)
            sums = {
                "l0": torch.stack([l0 * rows, rows], 1),
                "explained_variance": torch.stack([(1 - value) * rows, rows, rows], 1),
                "ce_clean": torch.stack([3 * rows, rows], 1),
            }
            record = Record(
                arm=f"{label}-{dial}-s{seed}",
                variant=label,
                dial=dial,
                seed=seed,
                width=8,
                tokens=4000,
                config_digest="",
                values={"l0": l0},
            )
            arms.append((record, sums))
    return Side(label, tuple(arms), text)


def test_values_at_one_l0_are_those_of_the_lines() -> None:
    found = compare(side("one", lambda x: 0.1 * x), side("other", lambda x: 0.05 * x, (20, 60)), DRAWING)
    assert (found.l0_low, found.l0_high, found.l0) == (pytest.approx(20), pytest.approx(60), pytest.approx(35, abs=0.6))
    (variance, clean) = found.metrics
    place = math.log2(found.l0 or 0)
    assert variance.metric == "explained_variance"
    assert variance.first.estimate == pytest.approx(0.1 * place)
    assert variance.second.estimate == pytest.approx(0.05 * place)
    assert variance.difference.estimate == pytest.approx(0.05 * place)
    assert clean.difference.model_dump() == {"estimate": 0.0, "low": 0.0, "high": 0.0}


def test_half_the_l0_for_equal_value_is_a_ratio_of_a_half() -> None:
    found = compare(side("one", lambda x: 0.1 * (x + 1)), side("other", lambda x: 0.1 * x), DRAWING)
    assert found.l0_ratio is not None
    assert found.l0_ratio.metric == "explained_variance"
    assert found.l0_ratio.ratio.estimate == pytest.approx(0.5, abs=1e-6)
    assert found.l0_ratio.ratio.low == pytest.approx(0.5, abs=1e-6)
    assert found.l0_ratio.low == pytest.approx(0.1 * math.log2(20))
    assert found.l0_ratio.high == pytest.approx(0.1 * math.log2(80))


def test_what_documents_do_to_both_sides_is_no_noise_of_their_difference() -> None:
    found = compare(
        side("one", lambda x: 0.1 * x + 0.02, by_document=0.3),
        side("other", lambda x: 0.1 * x, by_document=0.3),
        DRAWING,
    )
    variance = found.metrics[0]
    assert variance.first.high - variance.first.low > 0.1  # pyright: ignore
    assert variance.difference.high - variance.difference.low < 1e-9  # pyright: ignore
    assert found.l0_ratio is not None
    assert found.l0_ratio.ratio.high == pytest.approx(2**-0.2, abs=1e-6)
    assert found.dominance is not None
    assert (found.dominance.share.low, found.dominance.first_throughout) == (1.0, 1.0)
    apart = compare(
        side("one", lambda x: 0.1 * x + 0.02, by_document=0.3),
        side("other", lambda x: 0.1 * x, by_document=0.3, text="another"),
        DRAWING,
    )
    assert (found.paired, apart.paired) == (True, False)
    assert apart.metrics[0].difference.high - apart.metrics[0].difference.low > 0.1  # pyright: ignore


def test_the_interval_of_a_difference_is_that_of_theory() -> None:
    found = compare(
        side("one", lambda x: 0.1 * x, (20,), own=0.2),
        side("other", lambda x: 0.1 * x, (20,), own=0.2),
        Drawing(draws=3000),
    )
    width = found.metrics[0].difference.high - found.metrics[0].difference.low  # pyright: ignore
    assert width == pytest.approx(2 * 1.96 * 0.2 * math.sqrt(2) / math.sqrt(DOCUMENTS), rel=0.3)


def test_lines_that_cross_are_at_least_as_good_on_one_side_of_it() -> None:
    found = compare(side("one", lambda x: 0.2 * x), side("other", lambda x: 0.1 * x + 0.1 * math.log2(20)), DRAWING)
    assert found.dominance is not None
    assert found.dominance.share.estimate == pytest.approx(2 / 3, abs=0.05)  # above L0 20, of 10 to 80 on a log scale
    assert (found.dominance.first_throughout, found.dominance.second_throughout) == (0.0, 0.0)


def test_seeds_are_drawn_and_paired() -> None:
    seeds = (0, 1, 2)
    one, other = (side(name, lambda x: 0.1 * x, seeds=seeds, by_seed=0.1) for name in ("one", "other"))
    found = compare(one, other, DRAWING)
    assert found.seeds == (3, 3)
    variance = found.metrics[0]
    assert variance.first.estimate == pytest.approx(0.1 * math.log2(found.l0 or 0))
    assert variance.first.high - variance.first.low > 0.1  # pyright: ignore
    assert variance.difference.high - variance.difference.low < 1e-9  # pyright: ignore
    others = compare(one, side("other", lambda x: 0.1 * x, seeds=(3, 4, 5), by_seed=0.1), DRAWING)
    assert others.metrics[0].difference.high - others.metrics[0].difference.low > 0.1  # pyright: ignore


def test_a_single_dictionary_is_held_against_a_line_at_its_own_l0() -> None:
    found = compare(side("line", lambda x: 0.1 * x), side("baseline", lambda x: 0.0, (30,)), DRAWING)
    assert found.l0 == pytest.approx(30)
    assert found.metrics[0].difference.estimate == pytest.approx(0.1 * math.log2(30))
    assert (found.l0_ratio, found.dominance) == (None, None)
    assert "at L0 30;" in text(found)


def test_sides_that_share_no_l0_stand_at_their_own() -> None:
    found = compare(side("few", lambda x: 0.1 * x, (10, 20)), side("many", lambda x: 0.1 * x, (40, 80)), DRAWING)
    assert found.l0 is None
    assert found.metrics[0].metric == "l0"
    assert found.metrics[0].first.estimate == pytest.approx(15)
    assert (found.l0_ratio, found.dominance) == (None, None)
    assert "each at its own L0" in text(found)


def test_what_was_not_measured_by_document_is_refused() -> None:
    empty = Side("old", tuple((record, {}) for record, _ in side("one", lambda x: x).arms), "text")
    with pytest.raises(ConfigError, match=r"old has no L0 by document.*assay evaluate"):
        compare(empty, side("one", lambda x: x), DRAWING)


def test_the_words_say_what_was_drawn_and_found() -> None:
    said = text(compare(side("one", lambda x: 0.1 * (x + 1)), side("other", lambda x: 0.1 * x), DRAWING))
    lines = said.splitlines()
    assert lines[0].startswith(
        "one against other at L0 28 (both reach 10 to 80); [95 % intervals], 300 draws of 40 documents"
    )
    assert "one seed: chance between seeds is not in the intervals" in lines[0]
    assert lines[2].split()[:4] == ["Explained", "variance", "0.5807", "[0.5807,"]
    assert "one needs 0.50 [0.50, 0.50] times the L0 of other" in said
    assert "one throughout in 100 % of the draws" in said
    whole = text(compare(side("one", lambda x: 0.1 * x), side("other", lambda x: 0.1 * x), DRAWING), whole=True)
    assert "clean" in whole
    assert "clean" not in said
