"""RAVEL on cities: the table tells attributes apart; a model that knows nothing is refused. Known answers are those of `interchange`."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import pytest
import torch

from assay.materials.cities import ATTRIBUTES, cities
from assay.task import NotApplicable
from assay.tasks.ravel import Known, Ravel
from assay.testing.known import oracle, random_directions
from tests.analysis.test_interchange import PLANTED, pairs, readout
from tests.tasks.probing_bench import tiny_bench


def test_every_city_is_there_once_with_all_its_attributes() -> None:
    table = cities()
    assert len(table) > 100
    assert len({city.name for city in table}) == len(table)
    assert all(getattr(city, attribute) for city in table for attribute in ATTRIBUTES)
    assert {city.continent for city in table if city.language == "Spanish"} == {
        "Europe",
        "South America",
        "North America",
    }


def test_a_model_to_which_all_names_are_one_word_is_refused(tmp_path: Path) -> None:
    task = Ravel(Ravel.Config(), tiny_bench(tmp_path / "lm"))
    with pytest.raises(NotApplicable, match="begin with one token"):
        task.prepare()


def test_costs_are_known_before_anything_runs(tmp_path: Path) -> None:
    once, each = Ravel(Ravel.Config(), tiny_bench(tmp_path / "lm")).cost()
    assert once.to_end > 0
    assert each.to_end > once.to_end


def test_shares_are_over_the_pairs_of_all_attributes(tmp_path: Path) -> None:
    task = Ravel(Ravel.Config(), tiny_bench(tmp_path / "lm"))
    sets = [(each, SimpleNamespace(logits=readout(asked))) for each, asked in (pairs(1), pairs(2, 200))]
    task.sets = {"country": sets, "language": sets}  # type: ignore[assignment]
    task.swap, task.known = 1.0, Known((), {}, torch.empty(0, 32))
    found = task.try_on(oracle(PLANTED))
    assert found.values["disentanglement"] >= 0.95
    assert found.values["every"] == 1.0
    assert len(found.items["cause"]) + len(found.items["isolation"]) == 2 * 200
    assert all(found.values[name] == fmean(found.items[name]) for name in ("cause", "isolation", "every"))
    assert task.try_on(random_directions(PLANTED)).values["disentanglement"] <= 0.6
