"""The task `mdl` on planted rows: scores follow from each other, and too few rows are refused."""

from __future__ import annotations

import pytest
import torch

from assay.dictionary import Dictionary
from assay.task import NotApplicable, Task
from assay.tasks.mdl import DescriptionLengths
from assay.testing.known import known_dictionaries, known_planted
from tests.tasks.benches import rows_alone

PLANTED = known_planted()


def scores(dictionary: Dictionary) -> dict[str, float]:
    task = DescriptionLengths(DescriptionLengths.Config(rows=2000), rows_alone(PLANTED.sample(2500, 1)))
    task.prepare()
    found = task.try_on(dictionary)
    assert list(found.values) == list(DescriptionLengths.scores)
    assert found == task.try_on(dictionary)
    return dict(found.values)


def test_hand_made_dictionaries_come_in_their_order():
    assert Task.registry.named("mdl") is DescriptionLengths
    found = {name: scores(known) for name, known in known_dictionaries(PLANTED).items()}
    assert found["oracle"]["bits"] < found["absorbing"]["bits"] * 1.5
    assert found["oracle"]["bits"] < 0.6 * found["random"]["bits"]
    assert found["oracle"]["bits"] < 0.4 * found["identity"]["bits"]
    assert found["zero"]["codes"] == 0.0
    assert found["zero"]["bits"] == pytest.approx(found["zero"]["ceiling"], rel=0.05)
    for values in found.values():
        assert values["bits"] == pytest.approx(values["codes"] + values["rest"])
        assert values["codes"] == pytest.approx(values["which"] + values["values"])


def test_few_rows_are_refused():
    task = DescriptionLengths(DescriptionLengths.Config(), rows_alone(torch.randn(100, 32)))
    with pytest.raises(NotApplicable, match="100 rows"):
        task.prepare()


def test_its_cost_is_known_before_it_starts():
    prepares, scores = DescriptionLengths(DescriptionLengths.Config(), rows_alone(torch.zeros(1, 2))).cost()
    assert prepares.seconds < scores.seconds
