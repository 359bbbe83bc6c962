"""RAVEL on cities: the table tells attributes apart; a model that knows nothing is refused. Known answers are those of `interchange`."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.materials.cities import ATTRIBUTES, cities
from assay.task import NotApplicable
from assay.tasks.ravel import Ravel
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
