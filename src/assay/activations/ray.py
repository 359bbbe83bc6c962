"""A harvest whose shards Ray Data hands out to actors anywhere in a cluster: for machines that come, go and differ in speed.

Each block of Ray's data set is some shard numbers. The actor that gets it makes those that are not there yet, into the one folder, as a
worker does (see `share`); so a block that Ray gives out again after a lost node costs what was not finished, and changes no byte. Ray
carries numbers and the function that opens the model, by pickle between its own processes; activations go to disk from where they are
made.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from assay import errors
from assay.activations.harvest import harvest
from assay.activations.plan import plan
from assay.activations.share import Chosen
from assay.activations.store import ActivationStore
from assay.errors import AssayError, ConfigError
from assay.sites import locate

Arguments = Callable[[], dict[str, Any]]
"""Gives the arguments of `harvest` but for the folder: called once in every process that works, so that no model is ever sent."""

BLOCKS = 8
"""Blocks of shards for each actor: more even out actors of unlike speed, fewer plan the harvest less often."""


def harvest_by_ray(
    arguments: Arguments,
    folder: Path | str,
    *,
    actors: int,
    progress: Callable[[int, int], None] | None = None,
    **resources: Any,
) -> dict[str, ActivationStore]:
    """`harvest(folder=folder, **arguments())`, its shards made by so many actors; ends with the same folder.

    `arguments` must be a function of an importable module, or a `functools.partial` of one; every node must see the folder under one
    path. `resources` are what an actor holds, as Ray names it: num_gpus=1. `progress` is told rows done and rows in all, after each
    block. Joins the cluster that was initialised before, else the one of RAY_ADDRESS, else starts Ray on this machine for as long as
    it is needed. Raises ConfigError when Ray is not installed, and what `harvest` raises.
    """
    if actors < 1:
        raise ConfigError(f"{actors} actors", expected="1 or more", do="Give as many as the cluster has room for.")
    with _cluster(actors) as ray:
        elsewhere = ray.remote(**resources) if resources else ray.remote
        rows = ray.get(elsewhere(_rows_of_shards).remote(arguments))
        blocks = ray.data.range(len(rows), override_num_blocks=min(len(rows), BLOCKS * actors)).map_batches(
            Maker,
            fn_constructor_args=(arguments, str(folder)),
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(size=actors),
            **resources,
        )
        done = 0
        for block in blocks.iter_batches(batch_size=None, batch_format="numpy"):
            for met in filter(None, block["error"].tolist()):
                raise _rebuilt(met)
            done += sum(rows[index] for index in block["id"].tolist())
            if progress:
                progress(done, sum(rows))
        stores = ray.get(elsewhere(_merge).remote(arguments, str(folder)))
    return {name: ActivationStore.open(path) for name, path in stores.items()}


class Maker:
    """An actor: opens the model once, and makes the shards of each block that it is given."""

    def __init__(self, arguments: Arguments, folder: str) -> None:
        self.arguments, self.folder = arguments(), folder

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Make shards `id`, unless they are there; gives them back, and an `error` of ours as text: as an exception Ray would lose it."""
        shards, met = block["id"], ""
        try:
            harvest(folder=self.folder, worker=Chosen("ray", frozenset(shards.tolist())), **self.arguments)
        except AssayError as error:
            met = json.dumps([type(error).__name__, error.got, error.expected, error.do])
        return {"id": shards, "error": np.array([met] * len(shards))}


def _rebuilt(met: str) -> AssayError:
    name, got, expected, do = json.loads(met)
    return getattr(errors, name)(got, expected=expected, do=do)


def _rows_of_shards(arguments: Arguments) -> tuple[int, ...]:
    given = arguments()
    return plan(
        given["source"], **{name: given[name] for name in ("tokens", "rows_per_shard", "seed") if name in given}
    ).rows


def _merge(arguments: Arguments, folder: str) -> dict[str, str]:
    """The folder of each site, after a harvest alone has merged the manifests and made what may still be missing."""
    given = arguments()
    harvest(folder=folder, **given)
    return {str(site): str(Path(folder) / locate(given["model"], site).slug) for site in given["sites"]}


@contextmanager
def _cluster(actors: int) -> Iterator[Any]:
    """Ray, initialised; an error of ours that an actor met is raised as itself."""
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ImportError as error:
        raise ConfigError(
            f"Ray Data cannot be imported ({error})", expected="the extra", do="pip install 'assay[ray]'."
        ) from None
    ours = not ray.is_initialized()
    if ours:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": actors + 1, "include_dashboard": False}
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        ray.init(log_to_driver=False, logging_level=logging.WARNING, **here)
    context = ray.data.DataContext.get_current()
    shown, context.enable_progress_bars = context.enable_progress_bars, False
    try:
        yield ray
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, AssayError):
            raise error.cause from None
        raise
    finally:
        context.enable_progress_bars = shown
        if ours:
            ray.shutdown()
