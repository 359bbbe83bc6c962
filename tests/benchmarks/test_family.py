"""The comparison of all variants: complete, read off right, and its pages just what the results say."""

from __future__ import annotations

import inspect

import pytest

from assay.dictionary import Dictionary
from benchmarks import results
from benchmarks.family import page
from benchmarks.family.dials import at_l0, dials_for, grid

FOUND = {part: results.read(page.RESULTS / f"family_{part}.json") for part in ("planted", "real")}


def test_figures_are_read_off_between_the_nearest_points():
    points = [{"l0": 2.0, "ev": 0.2}, {"l0": 6.0, "ev": 0.6}, {"l0": 4.0, "ev": 0.5}]
    assert at_l0(points, 5.0, ["ev"]) == {"ev": pytest.approx(0.55)}
    assert at_l0(points, 7.0, ["ev"]) is None


def test_dials_are_found_for_an_l0():
    found = {0.1: 100.0, 1.0: 1.0}
    assert dials_for([10.0], found, whole=False) == [pytest.approx(0.3162, abs=1e-4)]
    assert dials_for([4.0, 4.2], {2: 2.0, 8: 8.0}, whole=True) == [4]


def test_an_l0_that_falls_again_at_small_penalties_does_not_mislead():
    assert dials_for([10.0], {0.001: 9.0, 0.1: 100.0, 1.0: 1.0}, whole=False) == [pytest.approx(0.3162, abs=1e-4)]


def test_a_grid_counts_latents_or_scales_the_default():
    gated, topk = (Dictionary.registry.named(name).Config() for name in ("gated", "topk"))
    assert grid(topk, counts=(1, 2)) == [1, 2]
    assert grid(gated, octaves=(-1, 0)) == [gated.sparsity.value / 2, gated.sparsity.value]


@pytest.mark.complete
@pytest.mark.parametrize("name", Dictionary.registry.names())
@pytest.mark.parametrize("part", FOUND)
def test_every_variant_is_measured_on_three_seeds(part, name):
    seeds = {row["seed"] for row in FOUND[part]["rows"] if row["variant"] == name}
    assert seeds == {0, 1, 2}, "run `make family`"


@pytest.mark.complete
@pytest.mark.parametrize("name", Dictionary.registry.names())
def test_a_variant_recovers_what_was_planted_or_says_why_not(name):
    variant = Dictionary.registry.named(name)
    rows = [row for row in FOUND["planted"]["rows"] if row["variant"] == name]
    learns = variant.Config().resized(d_in=8, width=64).build().learns()
    assert not learns or page.best_recovery(rows) >= page.RECOVERED or "MMCS" in (inspect.getdoc(variant) or "")


def test_the_pages_are_what_the_results_say():
    assert page.PAGE.read_text(encoding="utf-8") == page.comparison(FOUND)
    claims = page._claims()
    for name in Dictionary.registry.names():
        written = (page.FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert written == page.variant_page(name, FOUND, claims), "run `python -m benchmarks.family page`"
