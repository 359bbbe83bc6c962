"""The memory of a stage: how much of this process's is in the machine's memory (RSS) at its peak, part by part.

Counted are anonymous memory and mapped files alike: shards that training maps and a model's weights are part of RSS, though the system
can drop and read again what is mapped. A stage has a few moments, such as a forward pass or the writing of a shard; its peak is the
largest. Libraries, model and texts are measured in this process, passes and steps are counted (`rehearsal`, `model_memory`), the rest is
arithmetic on the settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from assay.activations import shard
from assay.activations.manifest import DTYPES
from assay.analysis.firings import CHUNK, POOL, POOL_BYTES
from assay.dictionary import Dictionary
from assay.run.needs.model_memory import ModelMemory, shard_bytes
from assay.run.needs.rehearsal import Rehearsal, rehearse
from assay.run.settings import Run
from assay.units import ROWS_AT_ONCE

StageName = Literal["harvest", "train", "evaluate", "examples"]
FLOAT, DOUBLE, INTEGER = 4, 8, 8
KEPT_FREE = 32 << 20
"""Freed memory that the allocator is taken to keep: half of the most that glibc leaves unreturned on its heap (twice its largest
threshold for mapping an allocation by itself, 32 MiB)."""
LIBRARIES = "interpreter and libraries"
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

    def after(self, held: tuple[Part, ...]) -> Moment:
        """The same moment of a stage that holds something all the time."""
        return Moment(self.when, (*held, *self.parts))


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

    parts: tuple[int, ...]
    """Widths of the activations, a site each."""
    libraries: int
    """Resident before a stage begins: interpreter, libraries, kernels."""
    model: ModelMemory | None
    """None where the model is not here, or no stage at hand runs it."""
    shards: Shards | None = None
    """Of the store that is there; None before the harvest."""
    resumes: bool = False
    """Whether there is a checkpoint to go on from: then nothing is fitted, and the first steps may be sparse already."""
    before: tuple[StageName, ...] = ()
    """Stages that this process has run already; it still holds the model, the texts and a window of the store."""

    @property
    def width(self) -> int:
        """Width of a row, all sites side by side."""
        return sum(self.parts)


def memory_of(stage: StageName, run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts) -> Memory | None:
    """The memory of a stage; None where that takes a model which is not here."""
    if stage == "train":
        return _train(run, arms, facts)
    if facts.model is None:
        return None
    moments = {"harvest": _harvest, "evaluate": _evaluate, "examples": _examples}[stage]
    return moments(run, arms, facts, facts.model)


def _process(facts: Facts) -> tuple[Part, Part]:
    return Part(LIBRARIES, facts.libraries), Part("freed memory that the allocator keeps", KEPT_FREE)


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
    return Part(
        f"window of shards ({count}), mapped, and its order",
        rows * (facts.width * shards.itemsize + INTEGER),
    )


def _living(run: Run, facts: Facts) -> list[Part]:
    """What batches of whole contexts take in place of a window of the store."""
    if not run.batches.contexts or facts.model is None:
        return []
    passes = Part("passes of a batch of contexts, and back", run.batches.contexts * facts.model.predicting)
    if facts.before:
        return [passes]
    return [Part("language model and its libraries", facts.model.to_end), _texts(facts.model), passes]


def _harvest(run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts, model: ModelMemory) -> Memory:
    settings, width = run.harvest, facts.width
    rows = min(settings.tokens, settings.rows_per_shard + run.source.context)
    contexts = min(settings.batch_contexts, -(-rows // run.source.context))
    held = (
        *_process(facts),
        Part("language model, as far as the site, and its libraries", model.to_site),
        _texts(model),
        Part(f"shard of {rows:,} rows", shard_bytes(rows, width, DTYPES[settings.dtype].itemsize)),
    )
    forward = Part(f"forward pass of {contexts} contexts", model.read(contexts, run.source.context))
    sums = Part("sums of a shard in float64", 3 * DOUBLE * min(rows, shard.ROWS_AT_ONCE) * width)
    loading = Moment("the model is loaded", (*_process(facts), Part("language model while loaded", model.loading)))
    return Memory((Moment("contexts are read", (*held, forward)), Moment("a shard is written", (*held, sums)), loading))


def _train(run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts) -> Memory:
    rehearsed = {name: _rehearsal(run, settings) for name, settings in arms.items()}
    kept = {name: made.kept(arms[name].width, arms[name].d_in) for name, made in rehearsed.items()}
    parameters = sum(made.parameters(arms[name].width, arms[name].d_in) for name, made in rehearsed.items())
    held = (
        *_process(facts),
        *_left(facts),
        Part(f"parameters of {_dictionaries(len(arms))}", parameters),
        Part("moments of Adam, counts of silence", sum(kept.values()) - parameters),
    )
    reading = (*held, *(_living(run, facts) or [_window(run, facts)]))
    step = _stepping(run, arms, facts, rehearsed).after(reading)
    if facts.resumes:
        largest = max(kept, key=kept.__getitem__)
        checkpoint = Part(f"checkpoint of {largest}, mapped", kept[largest])
        return Memory((Moment("a checkpoint is read", (checkpoint,)).after(held), step))
    return Memory((*(moment.after(reading) for moment in _fitting(run, arms, facts, rehearsed)), step))


def _fitting(
    run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts, rehearsed: Mapping[str, Rehearsal]
) -> Iterator[Moment]:
    """The sample that new dictionaries start from is read, then they start from it."""
    shards, width = facts.shards or Shards.planned(run), facts.width
    rows = min(run.train.sample_rows, sum(shards.rows))
    sample = Part(f"sample of {rows:,} rows", FLOAT * rows * width)
    count, _ = shards.window(run.batches.window)
    share = Part("share of one shard", rows // count * width * (shards.itemsize + FLOAT))
    yield Moment("a sample is read", (sample, share))
    doubles = Part("some rows in float64", min(rows, ROWS_AT_ONCE) * width * (FLOAT + 3 * DOUBLE))
    yield Moment("a sample is scaled", (sample, doubles))
    starts = {name: made.start(rows, arms[name].width, arms[name].d_in) for name, made in rehearsed.items()}
    first = max(starts, key=starts.__getitem__)
    yield Moment("dictionaries start from a sample", (sample, Part(f"start of {first}", starts[first])))


def _stepping(
    run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts, rehearsed: Mapping[str, Rehearsal]
) -> Moment:
    """The arm whose step takes the most; one steps at a time."""
    rows, width = run.batches.rows(run.source.context), facts.width
    steps = {name: made.step(rows, arms[name].width, arms[name].d_in) for name, made in rehearsed.items()}
    largest = max(steps, key=steps.__getitem__)
    codes = "dense codes, as at first" if rehearsed[largest].dense else "sparse codes"
    batch = Part(f"batch of {rows:,} rows, raw and scaled", 2 * FLOAT * rows * width)
    return Moment("a dictionary makes a step", (batch, Part(f"step of {largest}, {codes}", steps[largest])))


def _rehearsal(run: Run, settings: Dictionary.Config) -> Rehearsal:
    return rehearse(settings, run.train, batch=run.batches.rows(run.source.context), sample=run.train.sample_rows)


def _parameters(run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts) -> Part:
    taken = sum(_rehearsal(run, settings).parameters(settings.width, settings.d_in) for settings in arms.values())
    return Part(f"parameters of {_dictionaries(len(arms))}", taken)


def _dictionaries(count: int) -> str:
    return f"{count} dictionar{'y' if count == 1 else 'ies'}"


def _evaluate(run: Run, arms: Mapping[str, Dictionary.Config], facts: Facts, model: ModelMemory) -> Memory:
    left = (_window(run, facts),) if "train" in facts.before else ()
    held = (*_process(facts), *left, _parameters(run, arms, facts))
    scored = model.scored(len(arms), run.source.context, run.evaluate.at_once)
    passes = Part(f"passes of a context for {_dictionaries(len(arms))}", scored)
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
        *_process(facts),
        *((_window(run, facts),) if "train" in facts.before else ()),
        _parameters(run, arms, facts),
        Part("language model and its libraries", model.to_end if "evaluate" in facts.before else model.loaded),
        _texts(model),
        Part("shard, mapped", mapped * facts.width * shards.itemsize),
    )
    encoded = Part(f"{chunk:,} rows, raw, scaled and packed", 3 * FLOAT * chunk * facts.width)
    pool = Part(f"pool of {firings:,} firings while it is pruned", firings * POOL_BYTES)
    moments = Moment("rows are encoded", (encoded,)), Moment("firings are collected", (pool,))
    return Memory(tuple(moment.after(held) for moment in moments))
