"""What every task says of itself: scores with formulas, settings that are explained and have defaults, a cost that can be asked first."""

from __future__ import annotations

import inspect

import pytest

from assay.task import Task

TASKS = Task.registry.names()


def test_each_suite_has_tasks() -> None:
    assert {Task.registry.named(name).suite for name in TASKS} == {"probing", "interp"}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_what_it_is(name: str) -> None:
    task = Task.registry.named(name)
    assert len(inspect.getdoc(task) or "") > 80
    assert task.paper
    assert task.scores
    for score, kind in task.scores.items():
        assert score.isidentifier()
        assert kind.formula
        assert kind.better in ("higher", "lower", "target")


@pytest.mark.parametrize("name", TASKS)
def test_its_settings_have_defaults_and_are_explained(name: str) -> None:
    config = Task.registry.named(name).Config
    assert config()
    assert all(field.description for field in config.model_fields.values()), "a line of docstring under each setting"
