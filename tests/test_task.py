"""What a task gives is what it promised: every score, and items of which a score is the mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from assay.dictionary import Dictionary
from assay.task import Cost, ScoreKind, Scores, Task
from assay.testing.known import identity
from tests.tasks.benches import rows_alone

Trial = Callable[[Scores], Scores]


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Trial:
    """What becomes of scores that a task gives which promises `a` and `b`."""
    monkeypatch.setattr(Task.registry, "_members", dict[str, Any]())

    class Gives(Task, name="gives", suite="probing", paper="none"):
        scores: Mapping[str, ScoreKind] = {"a": ScoreKind("1", "higher"), "b": ScoreKind("2", "higher")}
        given = Scores({})

        def prepare(self) -> None: ...

        def score(self, dictionary: Dictionary) -> Scores:
            return self.given

        def cost(self) -> tuple[Cost, Cost]:
            return Cost(), Cost()

    bench = rows_alone(torch.zeros(1, 4))

    def of(scores: Scores) -> Scores:
        task = Gives(Task.Config(), bench)
        task.given = scores
        return task.try_on(identity(4))

    return of


BOTH, NAN = {"a": 0.5, "b": 2.0}, float("nan")


@pytest.mark.parametrize(
    "given",
    [
        Scores(BOTH),
        Scores(BOTH, items={"a": [0.0, 1.0]}, own={"b": [2.0]}),
        Scores(BOTH, items={"a": [0.0, NAN, 1.0]}),
        Scores({**BOTH, "a": NAN}, items={"a": [NAN, NAN]}),
    ],
    ids=["numbers", "means", "a mean of what is defined", "nothing defined"],
)
def test_scores_and_means_that_agree_are_passed_on(trial: Trial, given: Scores) -> None:
    assert trial(given) is given


def test_other_scores_than_promised_are_refused(trial: Trial) -> None:
    with pytest.raises(TypeError, match=r"gave \['a'\], and promised \['a', 'b'\]"):
        trial(Scores({"a": 0.5}))


def test_items_of_no_score_are_refused(trial: Trial) -> None:
    with pytest.raises(TypeError, match="gave c as nan"):
        trial(Scores(BOTH, items={"c": [1.0]}))


@pytest.mark.parametrize("field", ["items", "own"])
@pytest.mark.parametrize("values", [[0.5, 0.6], [NAN]])
def test_items_with_another_mean_are_refused(trial: Trial, field: str, values: list[float]) -> None:
    with pytest.raises(TypeError, match=r"gave a as 0\.5, and items with a mean of"):
        trial(Scores(BOTH, **{field: {"a": values}}))
