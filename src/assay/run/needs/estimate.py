"""What a run will take, said before anything starts: tokens, bytes on disk, memory part by part, time.

Memory is found by `memory`, time by `pace`; both measure and count a little in this process. Nothing is fetched or written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from assay.activations.manifest import DTYPES, open_description
from assay.dictionary import Dictionary
from assay.errors import MissingMaterial
from assay.materials import CATALOGUE, is_fetched
from assay.materials.language_model import names_in
from assay.ops import kernels
from assay.run.needs.advice import Change, cheapest, in_words
from assay.run.needs.available import bounds, give_back, resident
from assay.run.needs.memory import ACTIVE, Facts, Memory, Shards, StageName, memory_of
from assay.run.needs.model_memory import ModelMemory, measure_model
from assay.run.needs.pace import ModelPace, clock, model_pace, training_seconds
from assay.run.needs.rehearsal import rehearse
from assay.run.settings import Run
from assay.run.stages import Workspace
from assay.training.checkpoint import KEPT

Arms = Mapping[str, Dictionary.Config]


@dataclass(frozen=True)
class Stage:
    """What one stage takes."""

    tokens: int
    disk: int
    """Bytes written."""
    memory: Memory | None
    """None where the model must be fetched first."""
    seconds: float | None
    """The same; and where nothing is reckoned."""
    changes: tuple[Change, ...] = ()
    """What would take less memory, cheapest first."""


def estimate(workspace: Workspace, stages: Sequence[StageName], *, sweep: bool) -> dict[StageName, Stage]:
    """The needs of stages that one process runs one after another. Raises what a wrong setting raises."""
    run, facts = workspace.run, gather(workspace, stages)
    pace = model_pace(workspace) if facts.model else None
    found: dict[StageName, Stage] = {}
    for number, stage in enumerate(stages):
        here = replace(facts, before=tuple(stages[:number]))
        arms = partial(_arms, workspace, stage, here.parts, sweep)
        memory = memory_of(stage, run, arms(run), here)
        tokens, disk, seconds = _reckoned(stage, run, arms(run), facts, pace)
        found[stage] = Stage(tokens, disk, memory, seconds, tuple(cheapest(stage, run, arms, here)))
    return found


def advice(workspace: Workspace, stage: StageName, *, sweep: bool) -> tuple[Memory | None, list[Change]]:
    """The memory of a stage, and what would lessen it."""
    facts = gather(workspace, [stage])
    arms = partial(_arms, workspace, stage, facts.parts, sweep)
    return memory_of(stage, workspace.run, arms(workspace.run), facts), cheapest(stage, workspace.run, arms, facts)


def gather(workspace: Workspace, stages: Sequence[StageName]) -> Facts:
    """Measure what the memory of some stages depends on, what is smallest first. Raises MissingMaterial."""
    kernels.prepare()
    shards, parts = _store(workspace)
    parts = parts or _catalogued_widths(workspace)
    if parts:
        _rehearse_all(workspace, parts)
    give_back()
    libraries = resident()
    model: ModelMemory | None = None
    missing = _not_here(workspace)
    if (set(stages) - {"train"} or not parts or workspace.run.batches.contexts) and not missing:
        model = measure_model(workspace)
        parts = parts or model.parts
    if not parts:
        raise MissingMaterial(
            f"{' and '.join(missing)} is not here",
            expected="a model to measure",
            do=f"Run `assay materials {' '.join(missing)}` first.",
        )
    resumes = any((workspace.folder / "training").glob("step-*"))
    return Facts(parts, libraries, model, shards, resumes)


def say(stages: Mapping[StageName, Stage]) -> None:
    """Print an estimate: a line a stage, then its memory part by part, and what would lessen it."""
    print(f"{'stage':<10} {'tokens':>14} {'disk':>10} {'memory':>10} {'time':>10}")
    for name, stage in stages.items():
        memory = "after fetch" if stage.memory is None else in_words(stage.memory.peak.total)
        time = "–" if stage.seconds is None else clock(stage.seconds)
        print(f"{name:<10} {stage.tokens:>14,} {in_words(stage.disk):>10} {memory:>10} {time:>10}")
    for name, stage in stages.items():
        if stage.memory:
            _say_memory(name, stage.memory, stage.changes)


def _say_memory(name: StageName, memory: Memory, changes: Sequence[Change]) -> None:
    peak = memory.peak
    print(f"\n{name}: {in_words(peak.total)} in memory at the most, when {peak.when}")
    for part in peak.parts:
        print(f"  {in_words(part.bytes):>10}  {part.what}")
    what, most = min(bounds().items(), key=lambda bound: bound[1])
    if peak.total > most:
        print(f"warning: that is more than the {in_words(most)} that this process may have ({what})")
    if changes:
        print("less memory, the cheapest first:")
        print("\n".join(f"  {change}" for change in changes))


def _reckoned(
    stage: StageName, run: Run, arms: Arms, facts: Facts, pace: ModelPace | None
) -> tuple[int, int, float | None]:
    """Tokens, bytes on disk and seconds of a stage."""
    latents = [settings.width for settings in arms.values()]
    parameters = sum(settings.width * (settings.d_in + settings.d_out) for settings in arms.values())
    if stage == "harvest":
        rows = run.harvest.tokens
        size = facts.width * DTYPES[run.harvest.dtype].itemsize + 8 * len(facts.parts)
        return rows, rows * size, rows * pace.to_site if pace else None
    if stage == "train":
        rows = run.batches.rows(run.source.context)
        seconds = training_seconds(run.train.steps, rows, max(settings.d_in for settings in arms.values()), latents)
        if run.batches.contexts and pace:
            seconds += run.train.steps * rows * pace.predicting(len(arms))
        return run.train.steps * rows, (KEPT + 1) * 8 * parameters + 4 * parameters, seconds
    if stage == "evaluate":
        tokens = run.evaluate.tokens
        return tokens, 1 << 20, pace.evaluation(tokens, len(arms)) if pace else None
    return sum((facts.shards or Shards.planned(run)).rows), 1 << 20, None


def _arms(workspace: Workspace, stage: StageName, parts: tuple[int, ...], sweep: bool, run: Run) -> Arms:
    """The dictionaries of a stage, and the baselines that are measured beside them."""
    arms = _trained_or_to_train(workspace, stage, parts, sweep, run)
    return {**arms, **run.evaluate.beside(next(iter(arms.values())), ACTIVE)} if stage == "evaluate" else arms


def _trained_or_to_train(workspace: Workspace, stage: StageName, parts: tuple[int, ...], sweep: bool, run: Run) -> Arms:
    """Those to train, or those that were trained where some were."""
    if stage in ("evaluate", "examples"):
        both = run.arms(*parts, sweep=True) | run.arms(*parts, sweep=False)
        there = {
            name: settings for name, settings in both.items() if (workspace.folder / "dictionaries" / name).is_dir()
        }
        if there:
            return there
    return run.arms(*parts, sweep=sweep)


def _rehearse_all(workspace: Workspace, parts: tuple[int, ...]) -> None:
    """Make every rehearsal that the stages will ask for, so that what it loads is counted with the libraries."""
    run = workspace.run
    for settings in run.arms(*parts, sweep=False).values():
        rehearse(settings, run.train, batch=run.batches.rows(run.source.context), sample=run.train.sample_rows)


def _store(workspace: Workspace) -> tuple[Shards | None, tuple[int, ...]]:
    """The shards of the store and the widths of its sites, if there is one."""
    try:
        every = [open_description(folder) for folder in workspace.store_folders()]
    except MissingMaterial:
        return None, ()
    return Shards(every[0].shards, DTYPES[every[0].dtype].itemsize), tuple(each.width for each in every)


def _not_here(workspace: Workspace) -> list[str]:
    """The packaged models of a run that were not fetched yet."""
    return [name for name in names_in(workspace.run.model.name) if name in CATALOGUE and not is_fetched(name)]


def _catalogued_widths(workspace: Workspace) -> tuple[int, ...]:
    material = CATALOGUE.get(workspace.run.model.name)
    return (material.width,) * len(workspace.run.harvest.sites) if material and material.width else ()
