"""Interleaving and medians, by a clock that tasks move themselves."""

from __future__ import annotations

from benchmarks.timing import Timing, interleaved


class Clock:
    """A clock that stands still unless somebody works."""

    def __init__(self) -> None:
        self.now, self.worked = 0.0, []

    def __call__(self) -> float:
        return self.now

    def task(self, name: str, *seconds: float):
        left = iter(seconds)

        def work() -> None:
            self.now += next(left)
            self.worked.append(name)

        return work


def test_tasks_take_turns_and_the_first_round_does_not_count():
    clock = Clock()
    tasks = {"a": clock.task("a", 9.0, 1.0, 3.0, 2.0), "b": clock.task("b", 90.0, 10.0, 30.0, 20.0)}
    timed = interleaved(tasks, runs=3, clock=clock)
    assert clock.worked == ["a", "b"] * 4
    assert timed["a"].seconds == (1.0, 3.0, 2.0)
    assert (timed["b"].median, timed["b"].low, timed["b"].high) == (20.0, 10.0, 30.0)


def test_no_warm_up_counts_every_round():
    clock = Clock()
    assert interleaved({"a": clock.task("a", 4.0)}, runs=1, warmup=0, clock=clock)["a"].seconds == (4.0,)


def test_a_turn_of_several_steps_is_divided_among_them():
    assert Timing((10.0, 20.0)).each(10).seconds == (1.0, 2.0)


def test_runs_of_two_groups_are_pooled():
    assert (Timing((1.0, 2.0)) + Timing((6.0,))).median == 2.0
