"""The stages of a run in their order: harvest, train, evaluate, find examples, report. Calling a finished one does nothing.

runs/<name>/
  run.json                  every setting
  timings.json              seconds of each stage, of processes that ended in order
  activations/<site>/       shards and their manifest, while workers share the harvest one each
  training/                 checkpoints and progress.jsonl
  dictionaries/<arm>/       one folder a dictionary
  evaluation.json           records, and those of baselines
  documents.json            what they are made of, by document
  latents.json              examples
  report.json, report.html
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import xxhash
from torch import Tensor

from assay import __version__, disk
from assay.activations import ActivationStore, TextSource, harvest
from assay.activations.manifest import read_description
from assay.analysis.by_document import plain
from assay.analysis.evaluate import evaluate_model, to_record
from assay.analysis.examples import LatentPage, describe_latents
from assay.config import Config, parse
from assay.dictionary import Dictionary
from assay.errors import ConfigError, CorruptData, MissingMaterial, SiteNotFound, StoreError, shown
from assay.lock import LOCK, writing
from assay.materials import LanguageModel, load_language_model, load_texts
from assay.ops import kernels
from assay.ranks import is_first
from assay.reports import Histogram, Report, write_report
from assay.run import kept
from assay.run.about import describe_run, explain_metrics, explain_tasks
from assay.run.baselines import baselines
from assay.run.compare import compare_runs
from assay.run.kept import DOCUMENTS, EVALUATION, LATENTS, TIMINGS, TRAINING
from assay.run.settings import Run
from assay.sites import Site, locate, readout
from assay.training import Progress, train

SETTINGS, ACTIVATIONS, DICTIONARIES = "run.json", "activations", "dictionaries"
Counter = Callable[[int, int], None]
"""Told how much is done of how much."""


@dataclass(frozen=True, eq=False)
class Workspace:
    """A run and its folder. The model, the texts and the store are loaded when first needed, and once."""

    run: Run
    folder: Path

    @classmethod
    def open(cls, folder: Path) -> Workspace:
        """The workspace of a folder that a stage has written to. Raises MissingMaterial."""
        return cls(parse(Run, disk.read_sealed(folder / SETTINGS), where=str(folder / SETTINGS)), folder)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer of the folder, tidy it after a crash, and note the settings. Raises StoreError when somebody writes."""
        with writing(self.folder):
            disk.remove_leftovers(self.folder)
            disk.write_sealed(self.folder / SETTINGS, self.run.resolved())
            yield

    def tidy(self) -> None:
        """Remove what a killed process left, unless somebody is writing: for stages that find their work done."""
        if (self.folder / LOCK).exists():
            with suppress(StoreError, OSError), writing(self.folder):
                disk.remove_leftovers(self.folder)

    @cached_property
    def language_model(self) -> LanguageModel:
        """The network and its tokenizer."""
        return load_language_model(self.run.model.name)

    @cached_property
    def documents(self) -> list[str]:
        """All documents, held out or not."""
        return load_texts(self.run.source.texts)

    @cached_property
    def _sources(self) -> dict[str, TextSource]:
        return {}

    def source(self, part: Literal["train", "held_out"]) -> TextSource:
        """Contexts of the training part or the held-out part."""
        settings = self.run.source
        if part not in self._sources:
            self._sources[part] = TextSource(
                self.documents,
                self.language_model.tokenizer,
                context=settings.context,
                part=part,
                held_out=settings.held_out,
                seed=settings.seed,
            )
        return self._sources[part]

    @cached_property
    def store(self) -> ActivationStore:
        """The harvested activations. Raises MissingMaterial before the harvest."""
        batches, folders = self.run.batches, self.store_folders()
        order = {"batch_size": batches.size, "seed": batches.seed, "window": batches.window}
        return ActivationStore.join(folders, **order) if len(folders) > 1 else ActivationStore.open(*folders, **order)

    @cached_property
    def stream(self) -> ActivationStore:
        """What training reads: the store, or whole contexts that are run live. Raises ConfigError for those of several sites."""
        batches, site = self.run.batches, self.run.harvest.site
        if batches.contexts is None:
            return self.store
        if len(self.sites) > 1:
            raise ConfigError(f"batches.contexts with the sites {site}", expected="one site", do="Leave it out.")
        seeds = {"harvest_seed": self.run.harvest.seed, "seed": batches.seed}
        lm, source = self.language_model, self.source("train")
        identity, count = {"identity": lm.identity}, batches.contexts
        return ActivationStore.contexts(lm.model, source, self.sites[0], contexts=count, identity=identity, **seeds)

    def store_folders(self) -> list[Path]:
        """Where the shards of each site are."""
        stores = sorted(path.parent for path in (self.folder / ACTIVATIONS).glob("*/store.json"))
        asked = {read_description(folder).asked: folder for folder in reversed(stores)}
        for wanted in self.run.harvest.sites:
            if wanted not in asked:
                raise MissingMaterial(
                    f"{self.folder} holds no activations of {wanted}",
                    expected="a harvest",
                    do=f"Run `assay harvest {self.folder}`.",
                )
        return [asked[wanted] for wanted in self.run.harvest.sites]

    @cached_property
    def sites(self) -> list[Site]:
        """The exact address of each site. Raises SiteNotFound."""
        return [locate(self.language_model.model, name) for name in self.run.harvest.sites]

    def note_seconds(self, stage: str, seconds: float, *, more: bool = False) -> None:
        """Write how long a stage took into timings.json; `more` adds to what interrupted ones took before."""
        timings = self._timings()
        timings[stage] = round(seconds + (timings.get(stage, 0.0) if more else 0.0), 2)
        disk.write_sealed(self.folder / TIMINGS, timings)

    def is_noted(self, stage: str) -> bool:
        """Whether timings.json knows the stage: a killed process had no time to write there."""
        return stage in self._timings()

    def _timings(self) -> dict[str, float]:
        """None where they are damaged: no work is lost for the sake of a stopwatch."""
        try:
            return kept.read_timings(self.folder)
        except CorruptData:
            return {}


def run_harvest(workspace: Workspace, progress: Counter | None = None, *, repair: bool = False) -> ActivationStore:
    """Collect the activations of the run's site, and merge what workers have collected.

    `repair` reads every byte of what is there, and makes anew what is damaged.
    """
    started = time.perf_counter()
    counts: set[int] = set()
    threading.Thread(target=kernels.prepare).start()  # compiling hides behind the model's forward passes

    def count(done: int, total: int) -> None:
        counts.add(done)
        if progress:
            progress(done, total)

    with workspace.writing():
        arguments = harvest_arguments(workspace)
        harvest(**arguments, folder=workspace.folder / ACTIVATIONS, progress=count, repair=repair)
        if len(counts) > 1 or not workspace.is_noted("harvest"):
            workspace.note_seconds("harvest", time.perf_counter() - started, more=True)
    return workspace.store


def harvest_arguments(workspace: Workspace) -> dict[str, Any]:
    """What the run's harvest is called with, but for its folder."""
    settings = workspace.run.harvest
    return {
        "model": workspace.language_model.model,
        "source": workspace.source("train"),
        "sites": list(settings.sites),
        "tokens": settings.tokens,
        "rows_per_shard": settings.rows_per_shard,
        "batch_contexts": settings.batch_contexts,
        "dtype": settings.dtype,
        "seed": settings.seed,
        "identity": {"identity": workspace.language_model.identity},
    }


def run_train(workspace: Workspace, *, sweep: bool, stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
    """Train the run's dictionaries on its store, and save them; where several processes train, the first one writes."""
    store, started, worked = workspace.stream, time.perf_counter(), False
    arms = workspace.run.arms(*store.parts, sweep=sweep)
    dictionaries = {name: settings.build() for name, settings in arms.items()}
    steps = train(dictionaries, store, workspace.run.train, folder=workspace.folder / TRAINING, stop=stop)
    if not is_first():
        yield from steps
        return
    with workspace.writing():
        try:
            for progress in steps:
                worked = True
                yield progress
        finally:
            if worked or not workspace.is_noted("train"):
                workspace.note_seconds("train", time.perf_counter() - started, more=True)
        for name, dictionary in dictionaries.items():
            dictionary.provenance = {
                "site": workspace.run.harvest.site,
                "model": workspace.run.model.name,
                "store": store.identity,
                "train": workspace.run.train.identity(),
            }
            dictionary.save(workspace.folder / DICTIONARIES / name)


def trained_arms(workspace: Workspace) -> list[Path]:
    """Folders of the dictionaries that the run's settings name and that were trained. Raises MissingMaterial when none was."""
    parts = workspace.store.parts
    named = workspace.run.arms(*parts, sweep=True) | workspace.run.arms(*parts, sweep=False)
    folders = [workspace.folder / DICTIONARIES / name for name in named]
    found = [folder for folder in folders if folder.is_dir()]
    if not found:
        raise MissingMaterial(
            f"{workspace.folder} holds no dictionary of this run",
            expected="a training",
            do=f"Run `assay sweep {workspace.folder}`.",
        )
    return found


def run_evaluate(workspace: Workspace, progress: Counter | None = None) -> kept.Measurements:
    """Measure every dictionary, and the baselines, on held-out documents, unless just that was measured already."""
    arms = {folder.name: Dictionary.load(folder) for folder in trained_arms(workspace)}
    run = workspace.run
    inputs = digest([run.model, run.source, run.harvest.site, run.evaluate, _trained(workspace)])
    known, sums = kept.read_measurements(workspace.folder), kept.read_document_sums(workspace.folder)
    if known and sums and known.inputs == sums.inputs == inputs:
        workspace.tidy()
        return known
    started = time.perf_counter()
    beside = baselines(run.evaluate, arms, workspace.store.sample(min(run.train.sample_rows, workspace.store.rows)))
    source = workspace.source("held_out")
    evaluations = evaluate_model(
        arms | beside,
        workspace.language_model.model,
        workspace.sites,
        source,
        mean=workspace.store.mean(),
        tokens=run.evaluate.tokens,
        at_once=run.evaluate.at_once,
        progress=progress,
    )
    records = {name: to_record(name, (arms | beside)[name], evaluation) for name, evaluation in evaluations.items()}
    measured = kept.Measurements(
        inputs=inputs,
        records=tuple(records[name] for name in arms),
        densities={name: Histogram(**vars(evaluations[name].density)) for name in arms},
        baselines=tuple(records[name] for name in beside),
        outcomes=known.outcomes if known else (),
    )
    with workspace.writing():
        workspace.note_seconds("evaluate", time.perf_counter() - started)
        disk.write_sealed(
            workspace.folder / DOCUMENTS,
            {
                "inputs": inputs,
                "text": digest([source.identity, run.evaluate.tokens]),
                "arms": {name: plain(evaluation.by_document) for name, evaluation in evaluations.items()},
            },
        )
        disk.write_sealed(workspace.folder / EVALUATION, measured.resolved())
    return measured


def run_examples(workspace: Workspace) -> list[LatentPage]:
    """Describe the run's most telling latents, unless that was done already."""
    settings = workspace.run.latents
    inputs = digest([workspace.run.model, workspace.run.source, settings, _trained(workspace)])
    if (known := kept.read_latents(workspace.folder)) and known.inputs == inputs:
        workspace.tidy()
        return list(known.latents)
    arms = {folder.name: Dictionary.load(folder) for folder in trained_arms(workspace)}
    arm = settings.arm or next(iter(middle_arms(workspace, list(arms)).values()))
    if arm not in arms:
        raise ConfigError(f"latents.arm = {shown(arm)}", expected=f"one of {', '.join(arms)}", do="Correct it.")
    started = time.perf_counter()
    pages = describe_latents(
        arm,
        arms[arm],
        workspace.store,
        workspace.source("train"),
        _readout(workspace, arms[arm]),
        count=settings.count,
    )
    with workspace.writing():
        workspace.note_seconds("examples", time.perf_counter() - started)
        disk.write_sealed(
            workspace.folder / LATENTS, {"inputs": inputs, "latents": [page.resolved() for page in pages]}
        )
    return pages


def run_report(workspace: Workspace, command: str) -> Path:
    """Write report.json and report.html from what the other stages left. Raises MissingMaterial, CorruptData."""
    measured, described = kept.read_measurements(workspace.folder), kept.read_latents(workspace.folder)
    if measured is None:
        raise MissingMaterial(
            f"{workspace.folder} holds no evaluation", expected="one", do=f"Run `assay evaluate {workspace.folder}`."
        )
    report = Report(
        title=workspace.run.title or f"{workspace.run.name}: dictionaries of {workspace.run.model.name}",
        command=command,
        provenance=describe_run(workspace.run, workspace.store, workspace.store_folders()[0]),
        metrics=explain_metrics() | explain_tasks(measured.outcomes),
        records=measured.records,
        baselines=measured.baselines,
        outcomes=measured.outcomes,
        comparisons=tuple(compare_runs([workspace.folder])),
        curves=kept.read_curves(workspace.folder),
        densities=measured.densities,
        latents=described.latents if described else (),
        timings=kept.read_timings(workspace.folder),
    )
    with workspace.writing():
        return write_report(report, workspace.folder)


def middle_arms(workspace: Workspace, arms: Sequence[str]) -> dict[str, str]:
    """Of each dictionary of the run that has one among these arms the arm in the middle of its sweep, of the first seed."""
    parts, first = workspace.store.parts, min(workspace.run.seeds, default=0)
    settings = workspace.run.arms(*parts, sweep=True) | workspace.run.arms(*parts, sweep=False)
    found: dict[str, str] = {}
    for name in workspace.run.dictionaries:
        swept = re.compile(rf"{re.escape(name)}-[\d.e+-]+?(-s\d+)?")
        own = [arm for arm in arms if arm == name or (swept.fullmatch(arm) and settings[arm].seed == first)]
        if own:
            own.sort(key=lambda arm: settings[arm].dial_value())
            found[name] = own[(len(own) - 1) // 2]
    return found


def _readout(workspace: Workspace, dictionary: Dictionary) -> tuple[Tensor, Tensor | None] | None:
    """The unembedding and final norm scale, when atoms are as wide as they are."""
    try:
        unembedding, scale = readout(workspace.language_model.model)
    except SiteNotFound:
        return None
    return (unembedding, scale) if unembedding.shape[1] == dictionary.config.d_out else None


def _trained(workspace: Workspace) -> list[str]:
    """Hashes of the manifests of every dictionary."""
    return [f"{folder.name} {disk.hash_file(folder / disk.MANIFEST)}" for folder in trained_arms(workspace)]


def digest(parts: list[Any]) -> str:
    """xxh3-128 of settings and plain values, and of the version: what an outcome depends on."""
    plain = [part.resolved() if isinstance(part, Config) else part for part in parts]
    return xxhash.xxh3_128_hexdigest(json.dumps([__version__, plain], sort_keys=True).encode())
