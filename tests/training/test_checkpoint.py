"""A checkpoint whose files fit its MANIFEST, but which no training of this run has written, is refused before it is taken over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from assay import disk, tensor_file
from assay.errors import ConfigError, CorruptData
from assay.training import checkpoint

LIKE = {"a": {"dictionary.atoms": torch.zeros(4, 2), "silent": torch.zeros(4, dtype=torch.int64)}}
IDENTITY = {"train": {"steps": 4}}
STATE = {"step": 2, "identity": IDENTITY, "log_bytes": 10, "log_xxh3_128": "0" * 32}


def saved(folder: Path, state: Any = None, arms: Any = None) -> Path:
    checkpoint.save(folder, checkpoint.State(**STATE), arms or LIKE)
    path = folder / "step-00000002"
    if state is not None:
        disk.publish(path, lambda part: _again(part, state))
    return path


def _again(part: Path, state: Any) -> None:
    disk.write_json(part / "state.json", state)
    tensor_file.write(part / "a.safetensors", LIKE["a"])


def test_what_was_saved_comes_back(tmp_path):
    path = saved(tmp_path)
    assert checkpoint.load(path, IDENTITY) == checkpoint.State(**STATE)
    assert torch.equal(checkpoint.load_arm(path, "a", LIKE["a"])["dictionary.atoms"], LIKE["a"]["dictionary.atoms"])


@pytest.mark.parametrize(
    "state",
    [
        *([], 3, {}, {**STATE, "step": "2"}, {**STATE, "step": -1}, {**STATE, "step": 2.0}, {**STATE, "step": True}),
        *({**STATE, "log_bytes": None}, {**STATE, "identity": []}),
    ],
)
def test_a_state_of_anything_else_is_corrupt(tmp_path, state):
    with pytest.raises(CorruptData, match="does not describe a checkpoint"):
        checkpoint.load(saved(tmp_path, state), IDENTITY)


def test_the_state_of_another_run_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="made with other settings"):
        checkpoint.load(saved(tmp_path, {**STATE, "identity": {"train": {"steps": 5}}}), IDENTITY)


@pytest.mark.parametrize(
    "tensors",
    [
        {"dictionary.atoms": torch.zeros(4, 2)},
        {**LIKE["a"], "more": torch.zeros(1)},
        {**LIKE["a"], "silent": torch.zeros(4)},
        {**LIKE["a"], "dictionary.atoms": torch.zeros(2, 4)},
        {**LIKE["a"], "nodot": torch.zeros(1)},
    ],
)
def test_other_tensors_than_the_training_has_are_corrupt(tmp_path, tensors):
    with pytest.raises(CorruptData, match="other tensors"):
        checkpoint.load_arm(saved(tmp_path, arms={"a": tensors}), "a", LIKE["a"])


def test_links_and_files_named_like_checkpoints_are_left_alone(tmp_path):
    path = saved(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "step-00000001").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "step-00000003").write_bytes(b"")
    (tmp_path / "step-00000004.part5").write_bytes(b"")
    checkpoint.prune(tmp_path, keep=1)
    assert checkpoint.latest(tmp_path) == path
    assert (tmp_path / "elsewhere").is_dir()
