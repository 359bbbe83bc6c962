"""The suites of an evaluation: tasks that dictionaries are tried on, beside baselines that learnt nothing.

Each outcome is kept as soon as it is there; what was found with the same settings, dictionary, model and text is not done again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor

from assay import disk
from assay.config import parse
from assay.dictionary import Dictionary
from assay.errors import ConfigError, shown
from assay.record import Outcome, machine
from assay.run import kept
from assay.run.baselines import baselines
from assay.run.kept import EVALUATION
from assay.run.needs.pace import ModelPace, clock, model_pace
from assay.run.stages import DICTIONARIES, Workspace, digest, middle_arms, trained_arms
from assay.task import Bench, Cost, NotApplicable, Scores, Task

SuiteName: TypeAlias = Literal["core", "probing", "interp", "all"]
SAMPLE_ROWS = 8192
"""Harvested rows that the bench has."""


@dataclass(frozen=True)
class Planned:
    """A task that is to be done, and what it will take."""

    task: Task
    arms: Mapping[str, Dictionary]
    """What has no outcome yet."""
    inputs: Mapping[str, str]
    """Digest of what each outcome depends on."""
    seconds: float
    """All in all, as reckoned from the model's pace here."""


def plan(workspace: Workspace, suite: SuiteName) -> list[Planned]:
    """What a suite has to do. Raises MissingMaterial, ConfigError, UnknownName."""
    chosen = [
        each for name in Task.registry.names() if (each := Task.registry.named(name)).suite == suite or suite == "all"
    ]
    settings = {kind.name: _settings(workspace, kind) for kind in chosen}
    sample = workspace.store.sample(min(SAMPLE_ROWS, workspace.store.rows))
    arms = compared(workspace, sample)
    if len(workspace.sites) != 1:
        raise ConfigError(
            f"tasks at {len(workspace.sites)} sites",
            expected="one site",
            do="Try dictionaries of one tensor, or measure `core`.",
        )
    bench = Bench(workspace.language_model, workspace.sites[0], workspace.source("held_out"), sample)
    pace, found, read = model_pace(workspace), list[Planned](), dict[Any, int]()
    measured = kept.read_measurements(workspace.folder)
    done = {(each.task, each.arm): each.inputs for each in measured.outcomes} if measured else {}
    for kind in chosen:
        inputs = {name: _inputs(workspace, settings[kind.name], kind, name, arm) for name, arm in arms.items()}
        missing = {name: arm for name, arm in arms.items() if done.get((kind.name, name)) != inputs[name]}
        task = kind(settings[kind.name], bench)
        once, each = task.cost()
        seconds = 0.0
        if missing:
            shared = {key: tokens for key, tokens in once.shared.items() if key not in read}
            read |= shared
            seconds = sum(shared.values()) * pace.to_site + _seconds(once, pace) + len(missing) * _seconds(each, pace)
        found.append(Planned(task, missing, inputs, seconds))
    return found


def overview(planned: Sequence[Planned]) -> str:
    """What will be done and how long it will take, before anything starts."""
    lines = [
        f"{part.task.name:<20} {clock(part.seconds):>8}  {', '.join(part.arms)}"
        if part.arms
        else f"{part.task.name:<20} {'done':>8}"
        for part in planned
    ]
    return "\n".join([*lines, f"{'all':<20} {clock(sum(part.seconds for part in planned)):>8}"])


def run_suite(workspace: Workspace, planned: Sequence[Planned], say: Callable[[str], None]) -> Iterator[Outcome]:
    """Do what was planned, saying each part's time before it starts, and keep each outcome at once."""
    for part in planned:
        if not part.arms:
            continue
        task = part.task
        say(f"{task.name}: about {clock(part.seconds)} for {', '.join(part.arms)}")
        refused = ""
        try:
            task.prepare()
        except NotApplicable as reason:
            refused = str(reason)
            say(f"{task.name} is not applicable: {refused}")
        for name, arm in part.arms.items():
            started = time.perf_counter()
            scores, reason = (Scores({}), refused) if refused else _tried_on(task, arm)
            outcome = Outcome(
                task=task.name,
                arm=name,
                inputs=part.inputs[name],
                scores={score: _defined(value) for score, value in scores.values.items()},
                items={score: tuple(map(_defined, values)) for score, values in scores.items.items()},
                own={score: tuple(values) for score, values in scores.own.items()},
                not_applicable=reason,
                details=dict(scores.details),
                seconds=time.perf_counter() - started,
                machine=machine(),
            )
            _keep(workspace, outcome)
            yield outcome


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _tried_on(task: Task, arm: Dictionary) -> tuple[Scores, str]:
    """Scores, or none and the reason."""
    try:
        return task.try_on(arm), ""
    except NotApplicable as reason:
        return Scores({}), str(reason)


def compared(workspace: Workspace, sample: Float[Tensor, "N D"]) -> dict[str, Dictionary]:
    """The arms that tasks try, and the baselines beside them, fitted to the sample. Raises as `tried` and `baselines` do."""
    arms = tried(workspace)
    return arms | baselines(workspace.run.evaluate, arms, sample)


def tried(workspace: Workspace) -> dict[str, Dictionary]:
    """The arms that tasks try. Raises MissingMaterial, ConfigError."""
    known = [folder.name for folder in trained_arms(workspace)]
    asked = workspace.run.suites.arms
    for name in asked:
        if name not in known:
            raise ConfigError(
                f"suites.arms has {shown(name)}", expected=f"some of {', '.join(known)}", do="Correct it."
            )
    return {
        name: Dictionary.load(workspace.folder / DICTIONARIES / name)
        for name in asked or middle_arms(workspace, known).values()
    }


def _settings(workspace: Workspace, kind: type[Task]) -> Task.Config:
    return parse(kind.Config, workspace.run.suites.tasks.get(kind.name, {}), where=f"suites.tasks.{kind.name}")


def _inputs(workspace: Workspace, settings: Task.Config, kind: type[Task], name: str, arm: Dictionary) -> str:
    manifest = workspace.folder / DICTIONARIES / name / disk.MANIFEST
    which = disk.hash_file(manifest) if manifest.exists() else arm.config.digest()
    run = workspace.run
    return digest([kind.name, settings, run.model, run.source, run.harvest.site, workspace.store.identity, which])


def _keep(workspace: Workspace, outcome: Outcome) -> None:
    """Put an outcome in the place of an older one in evaluation.json."""
    with workspace.writing():
        known = kept.read_measurements(workspace.folder) or kept.Measurements(inputs="", records=(), densities={})
        others = [each for each in known.outcomes if (each.task, each.arm) != (outcome.task, outcome.arm)]
        disk.write_sealed(
            workspace.folder / EVALUATION, known.model_copy(update={"outcomes": (*others, outcome)}).resolved()
        )


def _seconds(cost: Cost, pace: ModelPace) -> float:
    return cost.to_site * pace.to_site + cost.to_end * pace.to_end + cost.seconds
