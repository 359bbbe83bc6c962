"""What would make a stage take less memory: halvings of its settings, each with the bytes that it saves and the harm that it does.

Ranked by saving per harm: changes that cost nothing but speed before those that change the training, those before a second run, and that
before a smaller dictionary or other data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.dictionary import Dictionary
from assay.errors import ConfigError
from assay.run.needs.memory import Facts, Memory, Shards, StageName, memory_of
from assay.run.needs.model_memory import REFERENCES
from assay.run.settings import Run

SPEED, TRAINING, AGAIN, RESULT = 1, 2, 3, 4
"""Harm: nothing but speed and the mixing of rows; the course of training; another run for what is left out; the result itself."""
WORTH = 0.01
"""Share of the memory below which a saving is not worth a line."""

Arms = Callable[[Run], Mapping[str, Dictionary.Config]]
"""The dictionaries that a stage of a run works with."""


@dataclass(frozen=True)
class Change:
    """A setting, what to set it to, and what that does."""

    key: str
    value: Any
    saves: int
    """Bytes."""
    harm: int

    def __str__(self) -> str:
        text = json.dumps(self.value, separators=(",", ":"))
        return f"--set {self.key}={text} saves {in_words(self.saves)}"


def cheapest(stage: StageName, run: Run, arms: Arms, facts: Facts, count: int = 3) -> list[Change]:
    """The changes that save the most for the harm they do, best first; fewer where fewer help."""
    memory = memory_of(stage, run, arms(run), facts)
    if memory is None:
        return []
    now = memory.peak.total
    changes = [
        Change(key, value, now - after.peak.total, harm)
        for key, value, harm in _halvings(stage, run, arms(run), facts)
        if (after := _changed(stage, run, arms, facts, key, value))
    ]
    worth = [change for change in changes if change.saves >= WORTH * now]
    return sorted(worth, key=lambda change: -change.saves / change.harm)[:count]


def _changed(stage: StageName, run: Run, arms: Arms, facts: Facts, key: str, value: Any) -> Memory | None:
    try:
        revised = run.revised({key: value})
        return memory_of(stage, revised, arms(revised), facts)
    except ConfigError:  # other settings don't allow it
        return None


def _halvings(
    stage: StageName, run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts
) -> Iterator[tuple[str, Any, int]]:
    """(setting, half of its effective value, harm) of all that a stage's memory may depend on."""
    shards, harvest = facts.shards or Shards.planned(run), run.harvest
    if stage == "harvest":
        yield from _half("harvest.batch_contexts", min(harvest.batch_contexts, harvest.tokens), SPEED)
        yield from _half("harvest.rows_per_shard", min(harvest.rows_per_shard, harvest.tokens), SPEED)
        if harvest.dtype == "float32":
            yield "harvest.dtype", "float16", RESULT
    if stage == "train":
        yield from _half("batches.window", min(run.batches.window, len(shards.rows)), SPEED)
        yield from _half("train.sample_rows", min(run.train.sample_rows, sum(shards.rows)), SPEED)
        yield from _half("batches.size", run.batches.size, TRAINING)
    if stage == "evaluate":
        yield from _half("evaluate.at_once", min(run.evaluate.at_once, len(arms) + REFERENCES), SPEED, least=2)
    if stage in ("harvest", "evaluate"):
        yield from _half("source.context", run.source.context, RESULT, least=2)
    if stage != "harvest":
        yield from _fewer(run, arms)
        for name, settings in run.arms(*facts.parts, sweep=False).items():
            yield from _half(f"dictionaries.{name}.width", settings.width, RESULT)


def _half(key: str, value: int, harm: int, least: int = 1) -> Iterator[tuple[str, Any, int]]:
    if value // 2 >= least:
        yield key, value // 2, harm


def _fewer(run: Run, arms: Mapping[str, Dictionary.Config]) -> Iterator[tuple[str, Any, int]]:
    """Half of the seeds, or half of a dial's values, where that leaves some of the dictionaries at hand."""
    lists: list[tuple[str, Sequence[Any]]] = [("seeds", run.seeds)]
    lists += [(f"sweep.{name}", values) for name, values in run.sweep.items()]
    for key, values in lists:
        if len(values) > 1 and len(arms) > len(run.dictionaries):
            yield key, list(values[: len(values) // 2]), AGAIN


def in_words(count: float) -> str:
    """Bytes with a unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
