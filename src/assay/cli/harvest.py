"""assay harvest RUN: collect activations into shards."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import tyro

from assay.activations.share import Worker
from assay.cli.arguments import Changes, Folder, RunName, Switch, open_run
from assay.cli.live import counting
from assay.cli.shortage import advised
from assay.errors import ConfigError
from assay.run import Workspace, stages, workers
from assay.run.needs.estimate import Stage, estimate, say


def run(
    run: RunName,
    changes: Changes = [],  # noqa: B006 - tyro reads it
    out: Folder = None,
    worker: Annotated[str | None, tyro.conf.arg(metavar="I/N")] = None,
    ray: Annotated[int | None, tyro.conf.arg(metavar="ACTORS")] = None,
    dry_run: Switch = False,
) -> int:
    """Harvest.

    Args:
        run: A TOML file, a recipe, or the folder of a run.
        changes: Settings to change, such as harvest.tokens=500000.
        out: Folder of the run; runs/NAME by default.
        worker: Make the shards of worker I of N only, such as 2/8, counted from 1. Workers run on any machines that see the folder, in
            any order; each can be stopped and started again. When all are done the same harvest without a worker merges their manifests.
        ray: Make the shards by so many actors of Ray, which needs assay[ray]; joins the cluster of RAY_ADDRESS, if that is set.
        dry_run: Say tokens, bytes, memory and time, and stop.
    """
    if worker is not None and ray is not None:
        raise ConfigError("--worker and --ray", expected="one of them", do="Ray hands out the shards by itself.")
    workspace, one = open_run(run, changes, out), Worker.parse(worker) if worker is not None else None
    if dry_run:
        parts = estimate(workspace, ["harvest"], sweep=False)
        say({"harvest": _share(parts["harvest"], one.count if one else 1)})
        return 0
    if one:
        return _work(workspace, one)
    with advised(workspace, "harvest"), counting("harvest", "tokens") as count:
        store = workers.run_ray(workspace, ray, count) if ray is not None else stages.run_harvest(workspace, count)
    folders = " and ".join(map(str, workspace.store_folders()))
    print(f"{store.rows:,} rows of {workspace.run.harvest.site}, {store.width} wide, in {folders}")
    return 0


def _work(workspace: Workspace, worker: Worker) -> int:
    with advised(workspace, "harvest"), counting(f"harvest, worker {worker}", "tokens") as count:
        complete = workers.run_worker(workspace, worker, count)
    alone = f"assay harvest {workspace.folder}"
    if complete:
        print(f"worker {worker} is done, and all shards are there; {alone} merges the workers' manifests")
    else:
        print(
            f"worker {worker} is done, other workers' shards are not all there yet; {alone} merges them when they are"
        )
    return 0


def _share(stage: Stage, count: int) -> Stage:
    """About what one of `count` workers has to do; each holds as much memory as one alone."""
    seconds = stage.seconds and stage.seconds / count
    return replace(stage, tokens=stage.tokens // count, disk=stage.disk // count, seconds=seconds)
