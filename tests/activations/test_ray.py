"""Shards that Ray hands out. What an actor does needs no Ray; where Ray is installed, two real actors make a harvest."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from assay.activations import TensorSource, harvest
from assay.activations.ray import Maker, harvest_by_ray
from assay.activations.store import verify_store
from assay.errors import ConfigError

WITH_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra [ray] is not installed")

MODULE = """
import os
from pathlib import Path
import torch
from torch import nn
from assay.activations import TensorSource

def arguments(tokens=29, finite=True, mark=None):
    torch.manual_seed(0)
    model, rows = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.randn(40, 3)
    if not finite:
        rows[17] = float("inf")
    if mark:
        model[0].register_forward_hook(lambda *_: die_once(Path(mark)))
    return {"model": model, "source": TensorSource(input=rows), "sites": ["0", "1"], "tokens": tokens, "rows_per_shard": 4}

def die_once(mark):
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    os._exit(9)
"""

SCRIPT = """
import json, os, sys
from functools import partial
from assay.activations.ray import harvest_by_ray
from assay.errors import AssayError
from opened import arguments

told = []
try:
    stores = harvest_by_ray(
        partial(arguments, **json.loads(sys.argv[2])), sys.argv[1], actors=2, progress=lambda *counts: told.append(counts)
    )
    print(json.dumps({"rows": {name: store.rows for name, store in stores.items()}, "told": told}))
except AssayError as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
"""


def arguments() -> dict[str, Any]:
    torch.manual_seed(0)
    model, rows = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.randn(40, 3)
    return {"model": model, "source": TensorSource(input=rows), "sites": ["0", "1"], "tokens": 29, "rows_per_shard": 4}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, bytes]:
    harvest(**arguments(), folder=tmp_path / "alone")
    return contents(tmp_path / "alone")


def by_ray(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """What a fresh process says that harvests by two actors; `opened.arguments` is imported by each of them."""
    (tmp_path / "opened.py").write_text(MODULE)
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "shared"), json.dumps(changes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_blocks_given_out_twice_to_several_actors_end_with_the_folder_of_one_process(tmp_path, expected):
    folder = tmp_path / "shared"
    first, second = (Maker(arguments, str(folder)) for _ in range(2))
    for actor, shards in ((first, [0, 1, 2]), (second, [6, 7]), (second, [0, 1, 2]), (first, [3, 4, 5])):
        given = np.array(shards)
        assert (actor({"id": given})["id"] == given).all()
    for site in ("0.out", "1.out"):
        assert verify_store(folder / site) == []
    harvest(**arguments(), folder=folder)
    assert contents(folder) == expected


def test_an_actor_gives_an_error_back_as_text(tmp_path):
    harvest(**{**arguments(), "seed": 3}, folder=tmp_path)
    given = Maker(arguments, str(tmp_path))({"id": np.array([0, 5])})
    kind, got, _, do = json.loads(given["error"][1])
    assert (kind, given["id"].tolist()) == ("StoreError", [0, 5])
    assert "another harvest" in got
    assert "another folder" in do


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"assay\[ray\]"):
        harvest_by_ray(arguments, tmp_path, actors=2)
    with pytest.raises(ConfigError, match="0 actors"):
        harvest_by_ray(partial(arguments), tmp_path, actors=0)


@WITH_RAY
def test_two_actors_end_with_the_folder_of_one_process(tmp_path, expected):
    said = by_ray(tmp_path)
    assert said["rows"] == {"0": 29, "1": 29}
    assert said["told"][-1] == [29, 29]
    assert contents(tmp_path / "shared") == expected


@WITH_RAY
def test_a_harvest_that_was_begun_otherwise_is_finished_by_actors(tmp_path, expected):
    harvest(**arguments(), folder=tmp_path / "shared", worker=(1, 3))
    by_ray(tmp_path)
    assert contents(tmp_path / "shared") == expected


@WITH_RAY
def test_an_actor_whose_process_dies_is_replaced(tmp_path, expected):
    by_ray(tmp_path, mark=str(tmp_path / "died"))
    assert (tmp_path / "died").exists()
    assert contents(tmp_path / "shared") == expected


@WITH_RAY
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tokens": 400}, "StoreError", "the 400 that were asked for"),
        ({"finite": False, "tokens": 40}, "Diverged", "document 17"),
    ],
)
def test_an_error_in_the_cluster_is_raised_as_itself(tmp_path, changes, error, message):
    said = by_ray(tmp_path, **changes)
    assert said["error"] == error
    assert message in said["message"]
