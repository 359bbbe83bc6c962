"""A run's harvest by many processes: independent workers, or actors of Ray."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from assay import disk
from assay.activations import ActivationStore, harvest
from assay.activations.ray import harvest_by_ray
from assay.activations.share import Worker
from assay.config import parse
from assay.run.settings import Run
from assay.run.stages import ACTIVATIONS, SETTINGS, Counter, Workspace, harvest_arguments


def run_worker(workspace: Workspace, worker: Worker, progress: Counter | None = None) -> bool:
    """Collect one worker's part of the activations; whether all parts are there now. Times nothing: many work at once."""
    if not (workspace.folder / SETTINGS).exists():
        disk.write_sealed(workspace.folder / SETTINGS, workspace.run.resolved())
    folder = workspace.folder / ACTIVATIONS
    complete = harvest(**harvest_arguments(workspace), folder=folder, worker=worker, progress=progress)
    return len(complete) == len(workspace.run.harvest.sites)


def run_ray(workspace: Workspace, actors: int, progress: Counter | None = None) -> ActivationStore:
    """Collect the activations by actors of Ray; a model or texts that are named by a path must be there on every node."""
    started = time.perf_counter()
    folder = workspace.folder.absolute()
    arguments = partial(_arguments, workspace.run.resolved(), str(folder))
    with workspace.writing():
        harvest_by_ray(arguments, folder / ACTIVATIONS, actors=actors, progress=progress)
        workspace.note_seconds("harvest", time.perf_counter() - started, more=True)
    return workspace.store


def _arguments(run: dict[str, Any], folder: str) -> dict[str, Any]:
    return harvest_arguments(Workspace(parse(Run, run, where=folder), Path(folder)))
