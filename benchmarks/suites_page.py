"""docs/suites.md from docs/results/suites: a table a task, beside those that learnt nothing; a summary in evaluation.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from assay.task import Task
from benchmarks.page import fill
from benchmarks.results import ROOT, Row
from benchmarks.tables import MISSING, number, table

FOLDER, PAGE, EVALUATION = (
    ROOT / "docs" / "results" / "suites",
    ROOT / "docs" / "suites.md",
    ROOT / "docs" / "evaluation.md",
)
TOLD = {
    "`tpp`, 20 latents silenced": "tpp tpp",
    "`sparse_probing`, 16 latents": "sparse_probing latents_16",
    "`sparse_probing`, 1 latent": "sparse_probing latents_1",
    "`autointerp`, strong firings": "autointerp detection_strong",
    "`autointerp`, all firings": "autointerp detection",
    "`scr`, 20 latents silenced": "scr scr",
    "`ravel`, all latents carried over": "ravel every",
    "`unlearning`, rise of the loss": "unlearning rise",
    "`mdl`, bits a row (lower is better)": "mdl bits",
}
"""What the summary shows."""


def write() -> None:
    """Write the page of all results that are there."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}
    PAGE.write_text(page(found), encoding="utf-8")
    if found:
        text = fill(EVALUATION.read_text(encoding="utf-8"), "suites", summary(found))
        EVALUATION.write_text(text, encoding="utf-8")


def page(found: Mapping[str, Any]) -> str:
    """The page."""
    sections = "\n\n".join(section(name, result) for name, result in found.items())
    return f"""# What tasks say of trained dictionaries

What each score is: [evaluation.md](evaluation.md) and `assay list tasks`. Beside the dictionaries stand random directions
(`random@L0`) and raw channels (`identity@L0`) with as many active latents. A column of several seeds has their mean. The last
columns are the first one less random directions, and less the next dictionary where there is one, with the 95 % interval of drawing
anew what a score is the mean of, and seeds: a dictionary's own latents and atoms apart, texts, letters and questions the same for both.
A single number of a single seed has none. `python -m benchmarks.suites` measured this and wrote this page.

{sections}
"""


def summary(found: Mapping[str, Any]) -> str:
    """What tasks tell apart: a row a score, a column for each two sides of a result of which the first one learnt."""
    columns = {
        f"{first} less {second.partition('@')[0]} ({name})": differences
        for name, result in found.items()
        for first, second, differences in _pairs(result)
        if set(TOLD.values()) <= differences.keys()
    }
    body = [
        (label, *(_interval(differences[score]) for differences in columns.values())) for label, score in TOLD.items()
    ]
    return table(("score", *columns), body)


def _pairs(result: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Mapping[str, float | None]]]]:
    """The first side against random directions and against the next dictionary: differences by score."""
    sides: dict[tuple[str, str], dict[str, Mapping[str, float | None]]] = {}
    for row in result["compared"]:
        first, second = row["sides"]
        sides.setdefault((first, second), {})[row["metric"]] = row["difference"]
    first, against = _sides(list(dict.fromkeys(each["side"] for each in result["outcomes"])))
    for second in against:
        yield first, second, sides.get((first, second), {})


def _sides(names: Sequence[str]) -> tuple[str, list[str]]:
    """The first side, and those that it is held against: random directions, and the next dictionary."""
    first, *others = names
    trained = [side for side in others if "@" not in side]
    return first, [side for side in others if side.startswith("random@")][:1] + trained[:1]


def section(name: str, result: Mapping[str, Any]) -> str:
    """All tasks of one result."""
    meta, outcomes = result["meta"], result["outcomes"]
    arms = len({each["arm"] for each in outcomes})
    took = f" All of it took {meta['seconds'] / 60:.1f} minutes for {arms} dictionaries." if meta["seconds"] else ""
    l0 = ", ".join(f"{side} {number(value, 1)}" for side, value in meta.get("l0", {}).items())
    tasks = list(dict.fromkeys(each["task"] for each in outcomes))
    parts = [of_task(task, [each for each in outcomes if each["task"] == task], result["compared"]) for task in tasks]
    return "\n\n".join(
        [
            f"## {name}",
            f"Dictionaries of the recipe `{meta['recipe']}`: `{meta['command']}` ({meta['date']}, {meta['machine']}).{took}"
            + (f" Active latents on held-out documents: {l0}." if l0 else ""),
            *parts,
        ]
    )


def of_task(task: str, outcomes: Sequence[Row], compared: Sequence[Row]) -> str:
    """A row a score, a column a side."""
    sides: dict[str, list[Row]] = {}
    for each in outcomes:
        sides.setdefault(each["side"], []).append(each)
    first, against = _sides(list(sides))
    seconds = fmean(each["seconds"] for each in outcomes)
    heading = f"### `{task}`\n\n{seconds:.0f} s a dictionary, beside what all share."
    refused = sorted({each["not_applicable"] for each in outcomes if each["not_applicable"]})
    scores = Task.registry.named(task).scores
    less = {(row["sides"][1], row["metric"]): row["difference"] for row in compared if row["sides"][0] == first}
    body = [
        (
            f"`{score}`",
            kind.better,
            *(_mean([each["scores"].get(score) for each in some]) for some in sides.values()),
            *(_interval(less.get((side, f"{task} {score}"))) for side in against),
        )
        for score, kind in scores.items()
        if any(each["scores"].get(score) is not None for each in outcomes)
    ]
    differences = (f"{first} less {side.partition('@')[0]}" for side in against)
    head = ("score", "better", *(_headed(side, some) for side, some in sides.items()), *differences)
    return "\n\n".join(
        [heading, *(f"Not applicable: {why}." for why in refused), *([table(head, body)] if body else [])]
    )


def _headed(side: str, outcomes: Sequence[Row]) -> str:
    return f"{side}, {len(outcomes)} seeds" if len(outcomes) > 1 else side


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return number(fmean(known), 3) if known else MISSING


def _interval(found: Mapping[str, float | None] | None) -> str:
    if found is None:
        return MISSING
    low, high = found["low"], found["high"]
    return number(found["estimate"], 3) + (f" ({number(low, 3)} to {number(high, 3)})" if low is not None else "")
