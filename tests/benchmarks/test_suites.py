"""What tasks found, as a page: seeds of an arm are one side, baselines stand beside, and intervals are there where items are."""

from __future__ import annotations

import json

import pytest

from assay.record import Outcome, Record
from benchmarks import suites, suites_page
from benchmarks.page import fill


def outcome(arm: str, value: float, own: tuple[float, ...] = (), refused: str = "") -> Outcome:
    scores = {} if refused else {"detection": value, "explained": 1.0}
    items = {"detection": own} if own else {}
    return Outcome(task="autointerp", arm=arm, inputs="", scores=scores, own=items, not_applicable=refused, seconds=4.0)


def record(arm: str, l0: float) -> Record:
    numbers = {"dial": 0.2, "seed": 0, "width": 4, "tokens": 9, "config_digest": "", "values": {"l0": l0}}
    return Record(arm=arm, variant="gated", **numbers)


OUTCOMES = [
    outcome("gated-0.2-s0", 0.7, (0.6, 0.8)),
    outcome("gated-0.2-s1", 0.9, (0.9, 0.9)),
    outcome("random@25", 0.5, (0.5, 0.5, 0.5)),
]


def result(outcomes: list[Outcome], seconds: float | None = None) -> dict:
    meta = {"recipe": "demo", "command": "python", "date": "today", "machine": "this", "seconds": seconds}
    return json.loads(json.dumps({"meta": meta, **suites.found(outcomes)}))


def test_seeds_of_an_arm_are_one_side_with_their_mean():
    page = suites_page.page({"demo": result(OUTCOMES, 120.0)})
    assert "| score | better | gated-0.2, 2 seeds | random@25 | gated-0.2 less random |" in page
    assert "| `detection` | higher | 0.800 | 0.500 | 0.300 (0.150 to 0.400) |" in page
    assert "| `explained` | higher | 1.000 | 1.000 | 0.000 |" in page
    assert "All of it took 2.0 minutes for 3 dictionaries." in page


def test_a_second_dictionary_is_compared_too():
    relu = [outcome("relu-0.1-s0", 0.6, (0.6, 0.6)), outcome("relu-0.1-s1", 0.6, (0.6, 0.6))]
    page = suites_page.page({"demo": result([*OUTCOMES[:2], *relu, OUTCOMES[2]])})
    assert "| random@25 | gated-0.2 less random | gated-0.2 less relu-0.1 |" in page
    assert "| 0.800 | 0.600 | 0.500 | 0.300 (0.150 to 0.400) | 0.200 (0.050 to 0.300) |" in page


def test_the_active_latents_of_a_side_are_those_of_its_seeds():
    records = [record(f"gated-0.2-s{seed}", l0) for seed, l0 in enumerate((20.0, 30.0))]
    assert suites.l0_of({"gated-0.2-s0", "gated-0.2-s1"}, [*records, record("relu-0.1", 7.0)]) == {"gated-0.2": 25.0}


def test_what_is_not_applicable_says_why():
    page = suites_page.page({"demo": result([outcome("gated-0.2", 0, refused="3 letters, 20 are needed")])})
    assert "Not applicable: 3 letters, 20 are needed." in page
    assert "All of it took" not in page


@pytest.mark.skipif(not list(suites_page.FOLDER.glob("*.json")), reason="`python -m benchmarks.suites` has not run")
def test_the_page_is_what_the_results_say():
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(suites_page.FOLDER.glob("*.json"))
    }
    assert suites_page.PAGE.read_text(encoding="utf-8") == suites_page.page(found)
    text = suites_page.EVALUATION.read_text(encoding="utf-8")
    assert fill(text, "suites", suites_page.summary(found)) == text


def test_the_summary_has_a_column_for_each_two_sides(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(suites_page, "TOLD", {"words": "autointerp detection"})
    relu = [outcome("relu-0.1-s0", 0.6, (0.6, 0.6)), outcome("relu-0.1-s1", 0.6, (0.6, 0.6))]
    found = suites_page.summary({"demo": result([*OUTCOMES[:2], *relu, OUTCOMES[2]])})
    assert found.splitlines()[0] == "| score | gated-0.2 less random (demo) | gated-0.2 less relu-0.1 (demo) |"
    assert found.splitlines()[2] == "| words | 0.300 (0.150 to 0.400) | 0.200 (0.050 to 0.300) |"
