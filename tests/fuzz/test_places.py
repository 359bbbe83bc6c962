"""Pipes, devices, folders and links where files should be: an answer in words, at once, from every reader."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from assay import disk, tensor_file
from assay.activations import ActivationStore
from assay.activations.store import verify_store
from assay.config import read_toml
from assay.dictionary import Dictionary
from assay.errors import AssayError
from assay.materials import load_language_model, load_texts
from assay.ops.kernels import compiled
from assay.reports import read_report
from assay.run import Workspace, kept
from assay.training import checkpoint
from tests.fuzz import whole
from tests.fuzz.limits import seconds

PLACES: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a link to an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to(path.with_name("nowhere")),
    "a link to itself": lambda path: path.symlink_to(path),
    "nothing": lambda path: None,
}


@pytest.fixture(params=PLACES)
def odd(request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """Put something odd where a file was."""

    def put(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        PLACES[request.param](path)
        return path

    return put


def refuses(read: Callable[[], object]) -> None:
    with seconds(5), pytest.raises(AssayError) as caught:
        read()
    assert caught.value.do


READERS = [disk.read, disk.read_json, tensor_file.header_of, tensor_file.read, read_toml, read_report]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_one_file(tmp_path: Path, odd: Callable[[Path], Path], read: Callable[[Path], object]) -> None:
    path = odd(tmp_path / "file.toml")
    refuses(lambda: read(path))


@pytest.mark.parametrize("name", ["store.json", "manifest.jsonl", "shard-00001.safetensors"])
def test_a_store(tmp_path: Path, odd: Callable[[Path], Path], name: str) -> None:
    folder = whole.put(whole.store(), tmp_path / "store")
    odd(folder / name)
    with seconds(5):
        assert verify_store(folder)

    def use() -> None:
        for shard in ActivationStore.open(folder).shards():
            shard.sum()

    refuses(use)


@pytest.mark.parametrize("name", [disk.MANIFEST, "dictionary.json", "dictionary.safetensors"])
def test_a_dictionary(tmp_path: Path, odd: Callable[[Path], Path], name: str) -> None:
    folder = whole.put(whole.saved_dictionary(), tmp_path / "gated")
    odd(folder / name)
    refuses(lambda: Dictionary.load(folder))
    with seconds(5):
        assert disk.check_manifest(folder)


@pytest.mark.parametrize("name", [disk.MANIFEST, "state.json", "gated.safetensors"])
def test_a_checkpoint(tmp_path: Path, odd: Callable[[Path], Path], name: str) -> None:
    folder = whole.put(whole.training(), tmp_path / "training")
    (newest,) = folder.glob("step-*")
    odd(newest / name)
    refuses(lambda: checkpoint.latest(folder))


def test_the_folder_of_a_checkpoint(tmp_path: Path, odd: Callable[[Path], Path]) -> None:
    for name in ("step-00000009", "step-00000009.part7"):
        odd(tmp_path / name)
    with seconds(5):
        checkpoint.prune(tmp_path, keep=2)


@pytest.mark.parametrize("name", ["run.json", "evaluation.json", "documents.json", "latents.json", "timings.json"])
def test_a_run(tmp_path: Path, odd: Callable[[Path], Path], name: str) -> None:
    folder = whole.put(whole.run_folder(), tmp_path / "run")
    odd(folder / name)
    read = {
        "run.json": Workspace.open,
        "evaluation.json": kept.read_measurements,
        "documents.json": kept.read_document_sums,
        "latents.json": kept.read_latents,
        "timings.json": kept.read_timings,
    }[name]
    if (folder / name).exists() or name == "run.json":
        refuses(lambda: read(folder))
    else:
        assert not read(folder)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "folder/a.txt"])
def test_a_text(tmp_path: Path, odd: Callable[[Path], Path], name: str, request: pytest.FixtureRequest) -> None:
    path = odd(tmp_path / name)
    refuses(lambda: load_texts(path.parent if path.parent != tmp_path else path))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_language_model(tmp_path: Path, odd: Callable[[Path], Path], name: str) -> None:
    folder = whole.put(whole.model_folder(), tmp_path / "model")
    odd(folder / name)
    refuses(lambda: load_language_model(str(folder)))


def test_object_code(tmp_path: Path, odd: Callable[[Path], Path]) -> None:
    path = odd(tmp_path / "kernel.o")
    with seconds(5):
        assert compiled._read(path) is None


@pytest.mark.parametrize("name", ["a\0b", "a" * 300, "a/" * 2000, "~nobody-here/a", "\ud800"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    for read in (disk.read, tensor_file.header_of, read_toml, read_report, ActivationStore.open, Dictionary.load):
        refuses(lambda read=read: read(tmp_path / name))
    refuses(lambda: load_texts(name))
    refuses(lambda: load_language_model(f"./{name}"))
