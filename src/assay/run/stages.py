"""The stages of a run in their order: harvest, train, evaluate, find examples, report. Calling a finished one does nothing.

runs/<name>/
  run.json                  every setting
  activations/<site>/       shards and their manifest
  training/                 checkpoints and progress.jsonl
  dictionaries/<arm>/       one folder a dictionary
  evaluation.json           records
  latents.json              examples
  report.json, report.html
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import xxhash
from torch import Tensor

from assay import __version__, disk
from assay.activations import ActivationStore, TextSource, harvest
from assay.analysis.evaluate import evaluate_model, to_record
from assay.analysis.examples import LatentPage, describe_latents
from assay.config import Config, parse
from assay.dictionary import Dictionary
from assay.errors import ConfigError, MissingMaterial, SiteNotFound
from assay.materials import LanguageModel, load_language_model, load_texts
from assay.metric import Metric
from assay.ops import kernels
from assay.record import Record, machine
from assay.reports import Curve, Explanation, Histogram, Report, write_report
from assay.run.settings import Run
from assay.sites import locate, readout
from assay.training import Progress, train

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
        return cls(parse(Run, disk.read_json(folder / "run.json"), where=str(folder / "run.json")), folder)

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
        batches = self.run.batches
        return ActivationStore.open(
            self.store_folder(), batch_size=batches.size, seed=batches.seed, window=batches.window
        )

    def store_folder(self) -> Path:
        """Where the shards are."""
        stores = sorted(path.parent for path in (self.folder / "activations").glob("*/store.json"))
        wanted = self.run.harvest.site
        for folder in stores:
            if disk.read_json(folder / "store.json").get("asked") == wanted:
                return folder
        raise MissingMaterial(
            f"{self.folder} holds no activations of {wanted}",
            expected="a harvest",
            do=f"Run `assay harvest {self.folder}`.",
        )

    def note_settings(self) -> None:
        """Write run.json, so that later verbs need only the folder."""
        disk.write_json(self.folder / "run.json", self.run.resolved())

    def note_seconds(self, stage: str, seconds: float, *, more: bool = False) -> None:
        """Write how long a stage took into timings.json; `more` adds to what an interrupted one took before."""
        path = self.folder / "timings.json"
        timings = disk.read_json(path) if path.exists() else {}
        timings[stage] = round(seconds + (timings.get(stage, 0.0) if more else 0.0), 2)
        disk.write_json(path, timings)


def run_harvest(workspace: Workspace, progress: Counter | None = None) -> ActivationStore:
    """Collect the activations of the run's site."""
    settings, started = workspace.run.harvest, time.perf_counter()
    counts: set[int] = set()
    workspace.note_settings()
    threading.Thread(target=kernels.prepare).start()  # compiling hides behind the model's forward passes

    def count(done: int, total: int) -> None:
        counts.add(done)
        if progress:
            progress(done, total)

    harvest(
        workspace.language_model.model,
        workspace.source("train"),
        [settings.site],
        workspace.folder / "activations",
        tokens=settings.tokens,
        rows_per_shard=settings.rows_per_shard,
        batch_contexts=settings.batch_contexts,
        dtype=settings.dtype,
        seed=settings.seed,
        identity={"identity": workspace.language_model.identity},
        progress=count,
    )
    if len(counts) > 1:
        workspace.note_seconds("harvest", time.perf_counter() - started, more=True)
    return workspace.store


def run_train(workspace: Workspace, *, sweep: bool, stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
    """Train the run's dictionaries on its store, and save them."""
    workspace.note_settings()
    store, started, worked = workspace.store, time.perf_counter(), False
    arms = workspace.run.arms(store.width, sweep=sweep)
    dictionaries = {name: settings.build() for name, settings in arms.items()}
    try:
        for progress in train(
            dictionaries, store, workspace.run.train, folder=workspace.folder / "training", stop=stop
        ):
            worked = True
            yield progress
    finally:
        if worked:
            workspace.note_seconds("train", time.perf_counter() - started, more=True)
    for name, dictionary in dictionaries.items():
        dictionary.provenance = {
            "site": workspace.run.harvest.site,
            "model": workspace.run.model.name,
            "store": store.identity,
            "train": workspace.run.train.identity(),
        }
        dictionary.save(workspace.folder / "dictionaries" / name)


def trained_arms(workspace: Workspace) -> list[Path]:
    """Folders of the dictionaries that the run's settings name and that were trained. Raises MissingMaterial when none was."""
    width = workspace.store.width
    named = workspace.run.arms(width, sweep=True) | workspace.run.arms(width, sweep=False)
    folders = [workspace.folder / "dictionaries" / name for name in named]
    found = [folder for folder in folders if folder.is_dir()]
    if not found:
        raise MissingMaterial(
            f"{workspace.folder} holds no dictionary of this run",
            expected="a training",
            do=f"Run `assay sweep {workspace.folder}`.",
        )
    return found


def run_evaluate(workspace: Workspace, progress: Counter | None = None) -> list[Record]:
    """Measure every dictionary on held-out documents, unless just that was measured already."""
    arms = {folder.name: Dictionary.load(folder) for folder in trained_arms(workspace)}
    inputs = _digest(
        [
            workspace.run.model,
            workspace.run.source,
            workspace.run.harvest.site,
            workspace.run.evaluate,
            _trained(workspace),
        ]
    )
    path = workspace.folder / "evaluation.json"
    if path.exists() and (known := disk.read_json(path)).get("inputs") == inputs:
        return [Record.model_validate(record) for record in known["records"]]
    started = time.perf_counter()
    model = workspace.language_model.model
    evaluations = evaluate_model(
        arms,
        model,
        locate(model, workspace.run.harvest.site),
        workspace.source("held_out"),
        mean=workspace.store.mean(),
        tokens=workspace.run.evaluate.tokens,
        at_once=workspace.run.evaluate.at_once,
        progress=progress,
    )
    records = [to_record(name, arms[name], evaluation) for name, evaluation in evaluations.items()]
    histograms = {name: evaluation.density for name, evaluation in evaluations.items()}
    disk.write_json(
        path,
        {
            "inputs": inputs,
            "records": [record.resolved() for record in records],
            "densities": {name: vars(histogram) for name, histogram in histograms.items()},
        },
    )
    workspace.note_seconds("evaluate", time.perf_counter() - started)
    return records


def run_examples(workspace: Workspace) -> list[LatentPage]:
    """Describe the run's most telling latents, unless that was done already."""
    settings = workspace.run.latents
    inputs = _digest([workspace.run.model, workspace.run.source, settings, _trained(workspace)])
    path = workspace.folder / "latents.json"
    if path.exists() and (known := disk.read_json(path)).get("inputs") == inputs:
        return [LatentPage.model_validate(page) for page in known["latents"]]
    arms = {folder.name: Dictionary.load(folder) for folder in trained_arms(workspace)}
    arm = settings.arm or _middle_arm(workspace, list(arms))
    if arm not in arms:
        raise ConfigError(f"latents.arm = {arm!r}", expected=f"one of {', '.join(arms)}", do="Correct it.")
    started = time.perf_counter()
    pages = describe_latents(
        arm,
        arms[arm],
        workspace.store,
        workspace.source("train"),
        _readout(workspace),
        count=settings.count,
    )
    disk.write_json(path, {"inputs": inputs, "latents": [page.resolved() for page in pages]})
    workspace.note_seconds("examples", time.perf_counter() - started)
    return pages


def run_report(workspace: Workspace, command: str) -> Path:
    """Write report.json and report.html from what the other stages left."""
    evaluation = disk.read_json(workspace.folder / "evaluation.json")
    latents = workspace.folder / "latents.json"
    pages = disk.read_json(latents)["latents"] if latents.exists() else ()
    timings = workspace.folder / "timings.json"
    report = Report(
        title=workspace.run.title or f"{workspace.run.name}: dictionaries of {workspace.run.model.name}",
        command=command,
        provenance=_provenance(workspace),
        metrics=_explanations(),
        records=tuple(Record.model_validate(record) for record in evaluation["records"]),
        curves=_curves(workspace.folder / "training" / "progress.jsonl"),
        densities={name: Histogram.model_validate(table) for name, table in evaluation["densities"].items()},
        latents=tuple(LatentPage.model_validate(page) for page in pages),
        timings=disk.read_json(timings) if timings.exists() else {},
    )
    write_report(report, workspace.folder)
    return workspace.folder / "report.html"


def _middle_arm(workspace: Workspace, arms: list[str]) -> str:
    """The arm in the middle of the first dictionary's sweep."""
    first = next(iter(workspace.run.dictionaries))
    settings = workspace.run.arms(workspace.store.width, sweep=True)
    swept = [name for name in settings if name.startswith(f"{first}-") and name in arms]
    return swept[(len(swept) - 1) // 2] if swept else arms[0]


def _readout(workspace: Workspace) -> tuple[Tensor, Tensor | None] | None:
    """The unembedding and final norm scale, when the site is as wide as they are."""
    try:
        unembedding, scale = readout(workspace.language_model.model)
    except SiteNotFound:
        return None
    return (unembedding, scale) if unembedding.shape[1] == workspace.store.width else None


def _trained(workspace: Workspace) -> list[str]:
    """Hashes of the manifests of every dictionary."""
    return [f"{folder.name} {disk.hash_file(folder / disk.MANIFEST)}" for folder in trained_arms(workspace)]


def _digest(parts: list[Any]) -> str:
    plain = [part.resolved() if isinstance(part, Config) else part for part in parts]
    return xxhash.xxh3_128_hexdigest(json.dumps([__version__, plain], sort_keys=True).encode())


def _explanations() -> dict[str, Explanation]:
    metrics = {name: Metric.registry.named(name) for name in Metric.registry.names()}
    return {
        name: Explanation(unit=metric.unit, better=metric.better, formula=metric.formula())
        for name, metric in metrics.items()
    }


def _curves(path: Path) -> dict[str, Curve]:
    logged = disk.read_lines(path)
    records = [
        record for record in logged if None not in (arm["explained_variance"] for arm in record["arms"].values())
    ]
    arms = records[-1]["arms"] if records else {}

    def course(name: str, quantity: str) -> tuple[float, ...]:
        return tuple(record["arms"][name][quantity] for record in records)

    return {
        name: Curve(
            step=tuple(record["step"] for record in records),
            tokens=tuple(record["tokens"] for record in records),
            l0=course(name, "l0"),
            explained_variance=course(name, "explained_variance"),
            dead_fraction=course(name, "dead"),
            loss=course(name, "loss"),
        )
        for name in arms
    }


def _provenance(workspace: Workspace) -> dict[str, Any]:
    run, store = workspace.run, workspace.store
    held, source = store.identity, store.identity["source"]
    epochs = run.train.steps * run.batches.size / store.rows
    return {
        "model": held["model"].get("identity", run.model.name),
        "site": f"{run.harvest.site} ({held['site']})",
        "text": f"{run.source.texts}: {source['documents']['count']:,} documents, xxh3-128 {source['documents']['xxh3_128']}",
        "vocabulary": f"xxh3-128 {source['tokenizer']['vocabulary']['xxh3_128']}",
        "context": f"{run.source.context} tokens",
        "held out": f"{run.source.held_out:.0%} of the documents, seed {run.source.seed}",
        "harvest": f"{store.rows:,} rows, {held['dtype']}, seed {held['seed']}",
        "training": f"{run.train.steps:,} steps of {run.batches.size:,} rows, {epochs:.1f} epochs, order of seed {run.batches.seed}",
        "learning rate": run.train.learning_rate,
        "settings digest": run.digest(),
        "assay": __version__,
        "machine": machine(),
    }
