"""assay train RUN: train the dictionaries that a run lists, each as it stands."""

from __future__ import annotations

from collections import deque

from assay.cli.arguments import Changes, Folder, RunName, Switch, open_run
from assay.cli.live import prepare_kernels, watch
from assay.cli.shortage import advised
from assay.ranks import is_first
from assay.run import stages
from assay.run.needs.estimate import estimate, say
from assay.training.parallel import launched
from assay.training.signals import stop_requests


def run(run: RunName, changes: Changes = [], out: Folder = None, dry_run: Switch = False) -> int:  # noqa: B006 - tyro reads it
    """Train.

    Args:
        run: A TOML file, a recipe, or the folder of a run.
        changes: Settings to change, such as train.steps=2000.
        out: Folder of the run; runs/NAME by default.
        dry_run: Say tokens, bytes, memory and time, and stop.
    """
    return train_arms(run, changes, out, dry_run, sweep=False)


def train_arms(run: str, changes: list[str], out: Folder, dry_run: bool, *, sweep: bool) -> int:
    """Train a run's dictionaries, or with `sweep` each at every dial value and seed; with the other processes, if torchrun started some."""
    workspace = open_run(run, changes, out)
    if dry_run:
        say(estimate(workspace, ["train"], sweep=sweep))
        return 0
    prepare_kernels()
    with advised(workspace, "train", sweep=sweep), stop_requests() as stop, launched():
        progress = stages.run_train(workspace, sweep=sweep, stop=stop)
        if not is_first():
            deque(progress, maxlen=0)
            return 0
        watch(progress, workspace.run.train.steps)
    for folder in sorted((workspace.folder / "dictionaries").glob("*")):
        print(folder)
    return 0
