"""Small whole files of every kind, as the package writes them: what hostile ones are made from, and what load paths are shown."""

from __future__ import annotations

import bz2
import json
import tempfile
from functools import cache
from pathlib import Path

import gguf
import numpy as np
import torch
import xxhash
from torch import nn

from assay import disk
from assay.activations import ActivationStore, TensorSource, harvest
from assay.analysis.examples import Example, LatentPage, TokenScore
from assay.dictionaries.gated import Gated
from assay.dictionary import Dictionary
from assay.materials.convert import convert_llama
from assay.record import Record
from assay.reports import Curve, Explanation, Histogram, Report
from assay.run import Run
from assay.training import TrainConfig, train

Files = dict[str, bytes]
"""The files of a folder by their path in it."""

TRAINING = TrainConfig(steps=4, learning_rate=0.01, log_every=2, checkpoint_every=2, sample_rows=8)
RUN = {
    "name": "small",
    "harvest": {"site": "0", "tokens": 8},
    "batches": {"size": 4},
    "train": {"steps": 4},
    "dictionaries": {
        "gated": {"variant": "gated", "width": 4, "sparsity": {"value": 0.2}},
        "topk": {"variant": "topk", "k": 2},
    },
    "sweep": {"gated": [0.1, 0.3]},
}

SUMS = {"l0": [[30.0, 10], [44.0, 12]], "explained_variance": [[1.5, 10.0, 10], [2.0, 11.0, 12]]}
"""Of two documents."""


def read(folder: Path) -> Files:
    """All files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def put(files: Files, folder: Path) -> Path:
    """Write the files into a folder, over those that are there."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@cache
def store() -> Files:
    """A store of two shards, four rows of two each."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        source = TensorSource(input=torch.randn(8, 2))
        harvest(nn.Sequential(nn.Identity()), source, ["0"], name, tokens=8, rows_per_shard=4)
        (folder,) = Path(name).iterdir()
        return read(folder)


def dictionary() -> Dictionary:
    """An untrained Gated of four latents."""
    return Gated.Config(d_in=2, width=4).build()


@cache
def saved_dictionary() -> Files:
    """A dictionary's folder."""
    with tempfile.TemporaryDirectory() as name:
        dictionary().save(Path(name) / "gated")
        return read(Path(name) / "gated")


@cache
def training() -> Files:
    """A training's folder: the last checkpoint, and the log."""
    with tempfile.TemporaryDirectory() as name:
        place = put(store(), Path(name) / "store")
        list(train({"gated": dictionary()}, opened(place), TRAINING, folder=Path(name) / "training"))
        return read(Path(name) / "training")


def opened(folder: Path) -> ActivationStore:
    """The store that training reads."""
    return ActivationStore.open(folder, batch_size=4)


@cache
def report() -> Report:
    """A report with something in every section."""
    records = tuple(
        Record(
            arm=f"{variant}-{dial:g}",
            variant=variant,
            dial=dial,
            seed=0,
            width=4,
            tokens=100,
            config_digest="0" * 32,
            values={
                "l0": 4 / dial,
                "loss_recovered_zero": 1 - dial,
                "dead_fraction": 0.5,
                "kl": None,
                "ce_clean": 3.0,
                "ce_zero": 9.0,
            },
        )
        for variant in ("gated", "relu")
        for dial in (0.1, 0.3)
    )
    numbers = {"step": (1, 2), "tokens": (10, 20), "l0": (3.0, 2.0), "loss": (2.0, 1.0)}
    curve = Curve(**numbers, explained_variance=(0.1, 0.5), dead_fraction=(0.0, 0.1))  # pyright: ignore
    return Report(
        title="small",
        command="assay report",
        provenance={"model": "tiny", "site": "0"},
        metrics={"l0": Explanation(unit="latents", better="target", formula="E |f|_0")},
        records=records,
        curves={"gated-0.1": curve},
        densities={"gated-0.1": Histogram(edges=(-2.0, -1.0, 0.0), counts=(1, 2), dead=1)},
        latents=(page(),),
        timings={"train": 3.5},
    )


def page() -> LatentPage:
    """A latent with one example."""
    example = Example(
        kind="top", low=1.0, high=1.0, document=0, position=2, tokens=("a", "<b>"), values=(0.0, 2.5), peak=1
    )
    scores = (TokenScore(token=" c", score=0.5),)
    return LatentPage(
        arm="gated-0.1", latent=1, density=0.25, maximum=2.5, raised=scores, lowered=scores, examples=(example,)
    )


@cache
def run_folder() -> Files:
    """What the stages of a run leave beside its activations and dictionaries."""
    plain = report().resolved()
    records = [record.resolved() for record in report().records]
    return {
        "run.json": disk._sealed(Run.model_validate(RUN).resolved()),
        "report.json": disk._sealed(plain),
        "evaluation.json": disk._sealed({"inputs": "0", "records": records, "densities": plain["densities"]}),
        "documents.json": disk._sealed({"inputs": "0", "text": "1", "arms": {r["arm"]: SUMS for r in records}}),
        "latents.json": disk._sealed({"inputs": "0", "latents": plain["latents"]}),
        "timings.json": disk._sealed({"harvest": 1.5}),
        "training/progress.jsonl": training()["progress.jsonl"],
    }


def as_json(value: object) -> bytes:
    """JSON without spaces that a corpus does not need."""
    return json.dumps(value, allow_nan=False).encode()


@cache
def texts() -> Files:
    """Texts in every form that is read."""
    table = 'category,text\nfresh,"Good, ""very"" good.\n\nTwice."\nrotten,Schlöck.\n'
    return {
        "a.txt": "\ufeffone\r\ntwo é\n".encode(),
        "a.jsonl": b'{"text": "one\\n"}\n\n{"text": "two", "more": [1]}\n',
        "a.csv.bz2": bz2.compress(table.encode()),
    }


@cache
def llama() -> bytes:
    """A GGUF file of a llama of one block, four wide, whose tokenizer knows four tokens."""
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        for add, number in (
            (writer.add_block_count, 1),
            (writer.add_context_length, 16),
            (writer.add_embedding_length, 4),
        ):
            add(number)
        writer.add_feed_forward_length(4)
        writer.add_head_count(2)
        writer.add_head_count_kv(1)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_dimension_count(2)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(["<end>", "a", "b", "ab"])
        writer.add_token_types([3, 1, 1, 1])
        writer.add_token_merges(["a b"])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(0)
        shapes = {"attn_norm": (4,), "attn_q": (4, 4), "attn_k": (2, 4), "attn_v": (2, 4), "attn_output": (4, 4)}
        shapes |= {"ffn_norm": (4,), "ffn_gate": (4, 4), "ffn_up": (4, 4), "ffn_down": (4, 4)}
        tensors = {
            "token_embd": (4, 4),
            "output_norm": (4,),
            **{f"blk.0.{key}": shape for key, shape in shapes.items()},
        }
        for key, shape in tensors.items():
            writer.add_tensor(f"{key}.weight", draw.standard_normal(shape).astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


@cache
def model_folder() -> Files:
    """That llama as a folder for transformers."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.gguf"
        path.write_bytes(llama())
        folder = Path(name) / "model"
        folder.mkdir()
        convert_llama(path, folder)
        return read(folder)


def remade_manifest(folder: Path) -> None:
    """Write the MANIFEST that fits the files of a folder, as an attacker can."""
    listed = {name: data for name, data in read(folder).items() if name != disk.MANIFEST}
    (folder / disk.MANIFEST).write_bytes(as_manifest(listed))


def as_manifest(files: Files) -> bytes:
    """The MANIFEST of some files, in the bytes that are expected of one."""
    entries = {name: {"bytes": len(data), "xxh3_128": xxhash.xxh3_128_hexdigest(data)} for name, data in files.items()}
    return (json.dumps(entries, indent=2, sort_keys=True) + "\n").encode()
