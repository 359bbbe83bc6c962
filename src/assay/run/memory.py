"""The memory of a stage: how much of this process's is in the machine's memory (RSS) at its peak, part by part.

Counted are anonymous memory and mapped files alike: shards that training maps and a model's weights are part of RSS, though the system
can drop and read again what is mapped. A stage has a few moments, such as a forward pass or the writing of a shard; its peak is the
largest. Libraries, model and texts are measured in this process, passes and steps are counted (`rehearsal`, `model_memory`), the rest is
arithmetic on the settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from assay.activations.manifest import DTYPES
from assay.activations.shard import ROWS_AT_ONCE
from assay.analysis.firings import CHUNK, POOL, POOL_BYTES
from assay.dictionary import Dictionary
from assay.run.model_memory import ModelMemory, shard_bytes
from assay.run.rehearsal import Rehearsal, rehearse
from assay.run.settings import Run

StageName = Literal["harvest", "train", "evaluate", "examples"]
FLOAT, DOUBLE, INTEGER = 4, 8, 8
ACTIVE = 64
"""Latents taken to be active in a row once trained, for what grows with them; no setting says how many will be."""


@dataclass(frozen=True)
class Part:
    """Bytes of one thing."""

    what: str
    bytes: int


@dataclass(frozen=True)
class Moment:
    """What is in memory at once."""

    when: str
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(part.bytes for part in self.parts)


@dataclass(frozen=True)
class Memory:
    """The moments of a stage."""

    moments: tuple[Moment, ...]

    @property
    def peak(self) -> Moment:
        """The largest."""
        return max(self.moments, key=lambda moment: moment.total)


@dataclass(frozen=True)
class Shards:
    """The shards of a store: rows of each, and bytes of a number."""

    rows: tuple[int, ...]
    itemsize: int

    @classmethod
    def planned(cls, run: Run) -> Shards:
        """Those that a harvest will write, give or take a context."""
        whole, rest = divmod(run.harvest.tokens, run.harvest.rows_per_shard)
        rows = (run.harvest.rows_per_shard,) * whole + ((rest,) if rest else ())
        return cls(rows, DTYPES[run.harvest.dtype].itemsize)

    def window(self, count: int) -> tuple[int, int]:
        """(shards, rows) of the largest window of `count` shards."""
        largest = sorted(self.rows, reverse=True)[:count]
        return len(largest), sum(largest)


@dataclass(frozen=True)
class Facts:
    """What the settings do not say."""

    width: int
    """Width D of the activations."""
    libraries: int
    """Resident before a stage begins: interpreter, libraries, kernels."""
    model: ModelMemory | None
    """None where the model is not here, or no stage at hand runs it."""
    shards: Shards | None = None
    """Of the store that is there; None before the harvest."""
    resumes: bool = False
    """Whether there are checkpoints to go on from."""
    before: tuple[StageName, ...] = ()
    """Stages that this process has run already; it still holds the model, the texts and a window of the store."""


def memory_of(stage: StageName, run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts) -> Memory | None:
    """The memory of a stage; None where that takes a model which is not here."""
    if stage == "train":
        return _train(run, arms, facts)
    if facts.model is None:
        return None
    moments = {"harvest": _harvest, "evaluate": _evaluate, "examples": _examples}[stage]
    return moments(run, arms, facts, facts.model)


def _libraries(facts: Facts) -> Part:
    return Part("interpreter and libraries", facts.libraries)


def _texts(model: ModelMemory) -> Part:
    return Part("texts and tokens", model.texts)


def _left(facts: Facts) -> list[Part]:
    """What stages before this one left in the process."""
    model = facts.model
    if not facts.before or model is None:
        return []
    loaded = model.to_end if "evaluate" in facts.before else model.to_site
    return [Part("language model and texts, still there", loaded + model.texts)]


def _window(run: Run, facts: Facts) -> Part:
    shards = facts.shards or Shards.planned(run)
    count, rows = shards.window(run.batches.window)
    return Part(f"window of {count} shards, mapped, and its order", rows * (facts.width * shards.itemsize + INTEGER))


def _harvest(run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts, model: ModelMemory) -> Memory:
    settings, width = run.harvest, facts.width
    rows = min(settings.tokens, settings.rows_per_shard + run.source.context)
    contexts = min(settings.batch_contexts, -(-rows // run.source.context))
    held = (
        _libraries(facts),
        Part("language model, as far as the site, and its libraries", model.to_site),
        _texts(model),
        Part(f"shard of {rows:,} rows", shard_bytes(rows, width, DTYPES[settings.dtype].itemsize)),
    )
    forward = Part(f"forward pass of {contexts} contexts", model.read(contexts, run.source.context))
    sums = Part("sums of a shard in float64", 3 * DOUBLE * min(rows, ROWS_AT_ONCE) * width)
    loading = Moment("the model is loaded", (_libraries(facts), Part("language model while loaded", model.loading)))
    return Memory((Moment("contexts are read", (*held, forward)), Moment("a shard is written", (*held, sums)), loading))


def _train(run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts) -> Memory:
    rehearsals = {name: _rehearsal(run, settings) for name, settings in arms.items()}
    width, batch, sample = facts.width, run.batches.size, _sample(run, facts)
    shapes = {name: (settings.width, width) for name, settings in arms.items()}
    parameters = sum(made.parameters(*shapes[name]) for name, made in rehearsals.items())
    kept = sum(made.kept(*shapes[name]) for name, made in rehearsals.items())
    held = (
        _libraries(facts),
        *_left(facts),
        _window(run, facts),
        Part(f"parameters of {len(arms)} dictionaries", parameters),
        Part("moments of Adam, counts of silence", kept - parameters),
    )
    starts = {name: made.start(sample, *shapes[name]) for name, made in rehearsals.items()}
    steps = {name: made.step(batch, *shapes[name]) for name, made in rehearsals.items()}
    first, largest = max(starts, key=starts.__getitem__), max(steps, key=steps.__getitem__)
    codes = "dense codes, as at first" if rehearsals[largest].dense else "sparse codes"
    moments = [
        Moment(
            "dictionaries are fitted to a sample",
            (
                *held,
                Part(f"sample of {sample:,} rows", FLOAT * sample * width),
                Part(f"start of {first}", starts[first]),
            ),
        ),
        Moment(
            "a dictionary makes a step",
            (
                *held,
                Part(f"batch of {batch:,} rows, raw and scaled", 2 * FLOAT * batch * width),
                Part(f"step of {largest}, {codes}", steps[largest]),
            ),
        ),
    ]
    if facts.resumes:
        states = {name: made.kept(*shapes[name]) for name, made in rehearsals.items()}
        largest = max(states, key=states.__getitem__)
        moments.append(
            Moment("a checkpoint is read", (*held, Part(f"checkpoint of {largest}, mapped", states[largest])))
        )
    return Memory(tuple(moments))


def _rehearsal(run: Run, settings: Dictionary.Config) -> Rehearsal:
    return rehearse(settings, run.train, batch=run.batches.size, sample=run.train.sample_rows)


def _sample(run: Run, facts: Facts) -> int:
    return min(run.train.sample_rows, sum((facts.shards or Shards.planned(run)).rows))


def _dictionaries(run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts) -> Part:
    taken = sum(_rehearsal(run, settings).parameters(settings.width, facts.width) for settings in arms.values())
    return Part(f"{len(arms)} dictionaries", taken)


def _evaluate(run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts, model: ModelMemory) -> Memory:
    left = (_window(run, facts),) if "train" in facts.before else ()
    held = (_libraries(facts), *left, _dictionaries(run, arms, facts))
    scored = model.scored(len(arms), run.source.context, run.evaluate.at_once)
    passes = Part(f"passes of a context for {len(arms)} dictionaries", scored)
    whole = Part("language model and its libraries", model.to_end)
    moments = [Moment("a context is scored", (*held, whole, _texts(model), passes))]
    if not facts.before:
        moments.append(Moment("the model is loaded", (*held, Part("language model while loaded", model.loading))))
    return Memory(tuple(moments))


def _examples(run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts, model: ModelMemory) -> Memory:
    shards = facts.shards or Shards.planned(run)
    rows, (_, mapped) = sum(shards.rows), shards.window(1)
    firings, chunk = min(POOL + CHUNK * ACTIVE, rows * ACTIVE), min(CHUNK, rows)
    held = (
        _libraries(facts),
        *((_window(run, facts),) if "train" in facts.before else ()),
        _dictionaries(run, arms, facts),
        Part("language model and its libraries", model.to_end),
        _texts(model),
        Part("shard, mapped", mapped * facts.width * shards.itemsize),
    )
    encoding = Part(f"{chunk:,} rows, raw, scaled and packed", 3 * FLOAT * chunk * facts.width)
    pool = Part(f"pool of {firings:,} firings while it is pruned", firings * POOL_BYTES)
    return Memory((Moment("rows are encoded", (*held, encoding)), Moment("firings are collected", (*held, pool))))
