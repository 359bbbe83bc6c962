"""Everything that reads a file from outside, as one function each: (bytes, folder to work in) -> None.

A target may raise AssayError and nothing else, and may take `SECONDS` and `memory` beyond the input. Hashes and seals are made to fit
the changed bytes where there are any, as whoever changes a file can: they tell damage, not intent. To fuzz a new reader, add a function
with @target here and a whole file of its kind in corpus.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import nn

from assay import disk
from assay import tensor_file as tensors
from assay.activations import ActivationStore, manifest
from assay.activations.manifest import Description, Line
from assay.activations.store import verify_store
from assay.analysis.bootstrap import Drawing
from assay.config import parse, parse_assignments, read_toml
from assay.dictionary import Dictionary
from assay.errors import AssayError, CorruptData
from assay.materials import load_language_model, texts
from assay.materials.convert import convert_llama
from assay.ops.kernels import compiled
from assay.reports import Report, read_report, text_table
from assay.reports.compared import text
from assay.reports.comparison import Side, compare
from assay.reports.html import render
from assay.run import Run, Workspace, kept
from assay.sites import locate
from assay.training import checkpoint
from assay.training.trainer import Trainee, _identity
from tests.fuzz import whole
from tests.fuzz.limits import FREE, Hang, memory, seconds

SECONDS = 5.0
Target = Callable[[bytes, Path], None]
TARGETS: dict[str, Target] = {}


class Broken(AssertionError):
    """A target did what it must not. `__cause__` is what it raised, if it raised."""

    hang = False


def target(function: Target) -> Target:
    """Add a target by its name."""
    TARGETS[function.__name__] = function
    return function


def run(name: str, data: bytes, folder: Path) -> bool:
    """Show bytes to a target within the limits; whether they were accepted. Raises Broken."""
    try:
        with memory(2 * len(data) + FREE), seconds(SECONDS):
            TARGETS[name](data, folder)
    except AssayError as error:
        if not all((error.got.strip(), error.expected.strip(), error.do.strip())) or len(str(error)) > 6000:
            raise Broken(f"{name}: an error that does not help: {error!r}") from error
        return False
    except Hang as error:
        broken = Broken(f"{name}: {error}")
        broken.hang = True
        raise broken from error
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a Rust library is no Exception
        raise Broken(f"{name}: {type(error).__name__}: {error}") from error
    return True


def warm(name: str, data: bytes, folder: Path) -> None:
    """Let a target import, compile and build what its first run would be charged for."""
    TARGETS[name](data, folder)


def _put(folder: Path, name: str, data: bytes) -> Path:
    whole.put({name: data}, folder)
    return folder / name


def _refuse(problems: list[str]) -> None:
    """Findings are an answer, not an error: count them as a refusal."""
    if problems:
        raise CorruptData(problems[0], expected="what was written", do="Restore it.")


@target
def json_file(data: bytes, folder: Path) -> None:
    disk.read_json(_put(folder, "a.json", data))


@target
def json_lines(data: bytes, folder: Path) -> None:
    disk.read_lines(_put(folder, "a.jsonl", data))


@target
def tensor_file(data: bytes, folder: Path) -> None:
    path = _put(folder, "a.safetensors", data)
    shapes = {name: entry["shape"] for name, entry in tensors.header_of(path).items()}
    assert {name: list(tensor.shape) for name, tensor in tensors.read(path).items()} == shapes


@target
def folder_manifest(data: bytes, folder: Path) -> None:
    place = whole.put({"one": b"1", "sub/two": b"22", disk.MANIFEST: data}, folder / "published")
    _refuse(disk.check_manifest(place))


# Stores.


@target
def store_description(data: bytes, folder: Path) -> None:
    """store.json sealed to fit, and a manifest that belongs to it."""
    sealed, description = _sealed(data)
    lines = whole.store()["manifest.jsonl"]
    _use_store({"store.json": sealed, "manifest.jsonl": _lines(lines, description)}, folder)


@target
def store_manifest(data: bytes, folder: Path) -> None:
    """manifest.jsonl, each line sealed to fit."""
    _, description = _sealed(whole.store()["store.json"])
    _use_store({"manifest.jsonl": _lines(data, description)}, folder)


@target
def store_shard(data: bytes, folder: Path) -> None:
    """A shard whose line in the manifest has its size and hashes."""
    _, description = _sealed(whole.store()["store.json"])
    first, *others = whole.store()["manifest.jsonl"].splitlines(keepends=True)
    line = {**json.loads(first), "bytes": len(data), "xxh3_128": xxhash.xxh3_128_hexdigest(data)}
    lines = _lines(b"".join([whole.as_json(line) + b"\n", *others]), description)
    _use_store({line["file"]: data, "manifest.jsonl": lines}, folder)


def _sealed(data: bytes) -> tuple[bytes, Description | None]:
    try:
        table = {name: value for name, value in disk.parse_json(data).items() if name != "seal"}
        return _resealed(data), parse(Description, table, where="a forgery")
    except (ValueError, RecursionError, AttributeError, AssayError):
        return data, None


def _resealed(data: bytes) -> bytes:
    """A table with the seal that belongs to it, where it is one."""
    try:
        return disk._sealed({name: value for name, value in disk.parse_json(data).items() if name != "seal"})
    except (ValueError, RecursionError, AttributeError):
        return data


def _lines(data: bytes, description: Description | None) -> bytes:
    """Lines with the seals that belong to a description, where they can have one."""
    return b"\n".join(_line(line, description) for line in data.split(b"\n"))


def _line(data: bytes, description: Description | None) -> bytes:
    try:
        table = {name: value for name, value in disk.parse_json(data).items() if name != "seal"}
        line = parse(Line, table, where="a forgery")
        return manifest._written(line, description)[:-1] if description else data
    except (ValueError, RecursionError, AttributeError, AssayError):
        return data


def _use_store(changes: whole.Files, folder: Path) -> None:
    place = folder / "store"
    shutil.rmtree(place, ignore_errors=True)
    whole.put(whole.store() | changes, place)
    problems = verify_store(place)
    store = ActivationStore.open(place, batch_size=2)
    assert torch.isfinite(store.mean()).all() or problems is not None
    next(store.batches())
    for shard in store.shards():
        shard.sum()
    _refuse(problems)


# Training and dictionaries.


@target
def checkpoint_state(data: bytes, folder: Path) -> None:
    _resume("state.json", data, folder)


@target
def checkpoint_tensors(data: bytes, folder: Path) -> None:
    _resume("gated.safetensors", data, folder)


def _resume(name: str, data: bytes, folder: Path) -> None:
    """Go on from a checkpoint with one file changed, as training does, but for the log."""
    place = folder / "training"
    shutil.rmtree(place, ignore_errors=True)
    whole.put(whole.training(), place)
    (newest,) = place.glob("step-*")
    whole.put({name: data}, newest)
    whole.remade_manifest(newest)
    trainee, identity = _trainee()
    checkpoint.prune(place, keep=1)
    path = checkpoint.latest(place)
    assert path == newest
    checkpoint.load(path, identity)
    trainee.restore(checkpoint.load_arm(path, "gated", trainee.state()))


@cache
def _trainee() -> tuple[Trainee, Any]:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        store = whole.opened(whole.put(whole.store(), Path(name)))
        trainee = Trainee(whole.dictionary(), whole.TRAINING)
        return trainee, json.loads(json.dumps(_identity({"gated": trainee}, whole.TRAINING, store)))


@target
def dictionary_description(data: bytes, folder: Path) -> None:
    _load_dictionary("dictionary.json", data, folder)


@target
def dictionary_tensors(data: bytes, folder: Path) -> None:
    _load_dictionary("dictionary.safetensors", data, folder)


def _load_dictionary(name: str, data: bytes, folder: Path) -> None:
    place = whole.put(whole.saved_dictionary() | {name: data}, folder / "dictionary")
    whole.remade_manifest(place)
    dictionary = Dictionary.load(place)
    dictionary(torch.zeros(2, dictionary.config.d_in))


# What a run keeps.


@target
def report_file(data: bytes, folder: Path) -> None:
    _show(read_report(_put(folder, "report.json", _resealed(data))))


@target
def evaluation_file(data: bytes, folder: Path) -> None:
    _put(folder, "evaluation.json", _resealed(data))
    measured = kept.read_measurements(folder)
    assert measured is not None
    _show(Report(title="t", command="c", records=measured.records, densities=measured.densities))


@target
def documents_file(data: bytes, folder: Path) -> None:
    _put(folder, "documents.json", _resealed(data))
    sums = kept.read_document_sums(folder)
    assert sums is not None
    record = read_report(_put(folder, "report.json", whole.run_folder()["report.json"])).records[0]
    sides = [
        Side(arm, ((record, {name: table for name in tables if (table := sums.of(arm, name)) is not None}),), sums.text)
        for arm, tables in sums.arms.items()
    ]
    for first, second in pairwise(sides):
        text(compare(first, second, Drawing(draws=3)), whole=True)


@target
def latents_file(data: bytes, folder: Path) -> None:
    _put(folder, "latents.json", _resealed(data))
    described = kept.read_latents(folder)
    assert described is not None
    _show(Report(title="t", command="c", latents=described.latents))


@target
def timings_file(data: bytes, folder: Path) -> None:
    _put(folder, "timings.json", _resealed(data))
    _show(Report(title="t", command="c", timings=kept.read_timings(folder)))


@target
def progress_file(data: bytes, folder: Path) -> None:
    _put(folder, "training/progress.jsonl", data)
    (record, *_), curves = whole.report().records, kept.read_curves(folder)
    curves |= dict(zip([record.arm], curves.values(), strict=False))
    _show(Report(title="t", command="c", records=(record,), curves=curves))


def _show(report: Report) -> None:
    page = render(report)
    page.encode()
    disk.parse_json(whole.as_json(report.resolved()))
    text_table(report.records)


@target
def run_json(data: bytes, folder: Path) -> None:
    _put(folder, "run.json", _resealed(data))
    Workspace.open(folder).run.arms(2, sweep=True)


@target
def toml_file(data: bytes, folder: Path) -> None:
    parse(Run, read_toml(_put(folder, "run.toml", data)), where="run.toml").arms(2, sweep=True)


@target
def assignment(data: bytes, folder: Path) -> None:
    changes = parse_assignments(data.decode("utf-8", "surrogateescape").split("\x1f"))
    Run.model_validate(whole.RUN).revised(changes)


# Materials.


@target
def text_file(data: bytes, folder: Path) -> None:
    texts.fingerprint(texts.load_texts(_put(folder, "a.txt", data)))


@target
def text_lines(data: bytes, folder: Path) -> None:
    texts.fingerprint(texts.load_texts(_put(folder, "b.jsonl", data)))


@target
def packed_table(data: bytes, folder: Path) -> None:
    texts.fingerprint(list(texts.read_table(_put(folder, "a.csv.bz2", data), "reviews")))


@target
def gguf_file(data: bytes, folder: Path) -> None:
    into = folder / "converted"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    convert_llama(_put(folder, "a.gguf", data), into)


@target
def model_config(data: bytes, folder: Path) -> None:
    _load_model("config.json", data, folder)


@target
def model_weights(data: bytes, folder: Path) -> None:
    _load_model("model.safetensors", data, folder)


@target
def model_tokenizer(data: bytes, folder: Path) -> None:
    _load_model("tokenizer.json", data, folder)


def _load_model(name: str, data: bytes, folder: Path) -> None:
    place = whole.put(whole.model_folder() | {name: data}, folder / "model")
    load_language_model(str(place)).tokenizer("ab")


@target
def site_name(data: bytes, folder: Path) -> None:
    locate(nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Identity())), data.decode("utf-8", "replace"))


@target
def kernel_code(data: bytes, folder: Path) -> None:
    """Object code in the cache is used only as it was written; what does not fit its checksum is as if it were not there."""
    code = compiled._read(_put(folder, "a.o", data))
    assert code is None or data == xxhash.xxh3_128_digest(code) + code
    _refuse([] if code is not None else ["no code"])
