"""The corpus: for every target a whole file as the package writes it, hostile ones made from it, and inputs that once broke something.

Files lie in corpus/<target>/, or corpus/<kind>/ where several targets read that kind, and are at most 4 KiB each.
`python -m tests.fuzz corpus` writes the whole and the hostile ones anew; what a drill finds is kept as found-<hash> and stays.
"""

from __future__ import annotations

import bz2
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash

from assay import disk
from tests.fuzz import whole, written

FOLDER = Path(__file__).with_name("corpus")
LARGEST = 4096


def files(target: str) -> dict[str, bytes]:
    """The corpus of a target by file name, that of its kind included."""
    folders = [*(name for name, (_, targets) in SHARED.items() if target in targets), target]
    return {path.name: path.read_bytes() for name in folders for path in sorted((FOLDER / name).iterdir())}


def keep(target: str, data: bytes) -> None:
    """Keep what broke a target, if it is small enough to be committed."""
    if len(data) <= LARGEST:
        (FOLDER / target / f"found-{xxhash.xxh3_64_hexdigest(data)}").write_bytes(data)


def write() -> None:
    """Write the whole and the hostile files of every target."""
    made = {name: {"whole": make(), **OWN.get(name, dict)()} for name, make in WHOLE.items()}
    for name, files in (made | {name: make() for name, (make, _) in SHARED.items()}).items():
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
        for old in (FOLDER / name).iterdir():
            if not old.name.startswith("found-"):
                old.unlink()
        for file, data in files.items():
            assert len(data) <= LARGEST, f"{name}/{file} has {len(data):,} bytes"
            (FOLDER / name / file).write_bytes(data)


def tensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file by hand."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _from(name: str, files: Callable[[], whole.Files]) -> Callable[[], bytes]:
    """The file of a folder whose path ends so."""
    return lambda: next(data for path, data in sorted(files().items()) if path.endswith(name))


WHOLE: dict[str, Callable[[], bytes]] = {
    "json_file": lambda: whole.as_json({"a": [1, 2.5, None, "é"], "b": {"c": True}}),
    "json_lines": lambda: b'{"step": 1}\n{"step": 2, "a": {"b": [0.5]}}\n',
    "tensor_file": _from("gated.safetensors", whole.training),
    "folder_manifest": lambda: whole.as_manifest(PUBLISHED),
    "store_description": _from("store.json", whole.store),
    "store_manifest": _from("manifest.jsonl", whole.store),
    "store_shard": _from("shard-00000.safetensors", whole.store),
    "checkpoint_state": _from("state.json", whole.training),
    "checkpoint_tensors": _from("gated.safetensors", whole.training),
    "dictionary_description": _from("dictionary.json", whole.saved_dictionary),
    "dictionary_tensors": _from("dictionary.safetensors", whole.saved_dictionary),
    "report_file": _from("report.json", whole.run_folder),
    "evaluation_file": _from("evaluation.json", whole.run_folder),
    "documents_file": _from("documents.json", whole.run_folder),
    "latents_file": _from("latents.json", whole.run_folder),
    "timings_file": _from("timings.json", whole.run_folder),
    "progress_file": _from("progress.jsonl", whole.run_folder),
    "run_json": _from("run.json", whole.run_folder),
    "toml_file": lambda: written.toml(whole.RUN).encode(),
    "assignment": lambda: b"train.steps=500\x1fdictionaries.gated.sparsity.value=0.3\x1fseeds=[0, 1]",
    "text_file": _from("a.txt", whole.texts),
    "text_lines": _from("a.jsonl", whole.texts),
    "packed_table": _from("a.csv.bz2", whole.texts),
    "gguf_file": whole.llama,
    "model_config": _from("config.json", whole.model_folder),
    "model_weights": _from("model.safetensors", whole.model_folder),
    "model_tokenizer": _from("tokenizer.json", whole.model_folder),
    "site_name": lambda: b"1.0:out",
    "kernel_code": lambda: xxhash.xxh3_128_digest(b"code") + b"code",
}
PUBLISHED = {"one": b"1", "sub/two": b"22"}

A = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
SIX = b"\0" * 24


def _documents() -> dict[str, bytes]:
    return {
        "empty": b"",
        "not-utf-8": b'{"a": "\xff"}',
        "half-a-letter": b'{"a": "\\ud800"}',
        "key-twice": b'{"a": 1, "a": 2}',
        "nan": b'{"a": NaN}',
        "infinite": b'{"a": 1e999}',
        "digits": b"9" * 4000,
        "deep": b"[" * 4000,
        "deep-and-whole": b"[" * 900 + b"]" * 900,
        "a-list": b"[]",
        "utf-16": '{"a": 1}'.encode("utf-16"),
    }


def _headers() -> dict[str, bytes]:
    many = {str(number): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for number in range(64)}
    return {
        "header-of-2-to-the-60": tensors({}, length=2**60),
        "header-of-2-to-the-64": tensors({}, length=2**64 - 1),
        "negative-shape": tensors({"a": {**A, "shape": [-2, -3]}}, SIX),
        "huge-shape": tensors({"a": {**A, "shape": [2**31, 2**31]}}, SIX),
        "shape-that-wraps": tensors({"a": {**A, "shape": [2**32, 2**32, 6]}}, SIX),
        "more-shape-than-data": tensors({"a": {**A, "shape": [2**20, 2**10], "data_offsets": [0, 4]}}, b"\0" * 4),
        "overlap": tensors({"a": A, "b": A}, SIX),
        "hole": tensors({"a": {**A, "data_offsets": [4, 28]}}, b"\0" * 28),
        "reversed": tensors({"a": {**A, "data_offsets": [24, 0]}}, SIX),
        "offsets-of-2-to-the-63": tensors({"a": {**A, "data_offsets": [0, 2**63]}}, SIX),
        "dtype-of-another-kind": tensors({"a": {**A, "dtype": "F8_E8M0"}}, SIX),
        "dtype-is-a-list": tensors({"a": {**A, "dtype": ["F32"]}}, SIX),
        "name-twice": tensors(b'{"a": %s, "a": %s}' % (json.dumps(A).encode(), json.dumps(A).encode()), SIX),
        "many-empty": tensors(many),
        "truths": tensors({"a": {**A, "shape": [True, 6], "data_offsets": [False, 24]}}, SIX),
        "nothing": tensors({}),
        "metadata-is-a-number": tensors({"__metadata__": 3, "a": A}, SIX),
        "eight-bytes": b"\0" * 8,
    }


def _manifests() -> dict[str, bytes]:
    entry = {"bytes": 1, "xxh3_128": "0"}
    names = {
        "absolute": "/etc/passwd",
        "upwards": "../../x",
        "zero": "a\0b",
        "long": "a" * 300,
        "itself": ".",
        "nothing": "",
    }
    return {name: whole.as_json({path: entry}) for name, path in names.items()}


def _descriptions() -> dict[str, bytes]:
    table = disk.parse_json(WHOLE["store_description"]())
    changes: dict[str, dict[str, Any]] = {
        "wide": {"width": 2**40},
        "no-shards": {"shards": [], "tokens": 1},
        "shards-of-nothing": {"shards": [0, 8]},
        "shards-of-less-than-nothing": {"shards": [-8, 16]},
        "shards-of-everything": {"shards": [2**62, 2**62], "tokens": 2**63 - 1},
        "newer": {"version": 2**70},
        "nested": {"model": {"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}},
    }
    return {name: whole.as_json(table | change) for name, change in changes.items()}


def _states() -> dict[str, bytes]:
    table = disk.parse_json(WHOLE["checkpoint_state"]())
    changes: dict[str, dict[str, Any]] = {
        "no-step": {"step": None},
        "step-is-text": {"step": "4"},
        "negative-step": {"step": -1},
        "endless-step": {"step": 2**200},
        "no-identity": {"identity": []},
        "others-identity": {"identity": {}},
    }
    return {name: whole.as_json(table | change) for name, change in changes.items()}


def _dictionaries() -> dict[str, bytes]:
    table = disk.parse_json(WHOLE["dictionary_description"]())
    configs = {"wide": {"width": 2**30}, "deep": {"d_in": 2**20}, "no-width": {"width": 0}, "seeded": {"seed": 2**80}}
    changed = {name: table | {"config": table["config"] | change} for name, change in configs.items()}
    changed |= {
        "stranger": table | {"dictionary": "os.system"},
        "a-list": table | {"config": []},
        "unnamed": table | {"dictionary": 3},
    }
    return {name: whole.as_json(each) for name, each in changed.items()}


def _numbers(target: str) -> Callable[[], dict[str, bytes]]:
    """The whole file with one of its numbers at a bound."""

    def make() -> dict[str, bytes]:
        text = WHOLE[target]().decode()
        found = {}
        for name, number in {"tiny": "5e-324", "huge": "1.7e308"}.items():
            for place, old in enumerate(("0.1", "2.5", "3.0", "0.5", "100", "0.25", "1.5", "-2.0", "40.0")):
                if f": {old}" in text or f", {old}" in text or f"[{old}" in text:
                    found[f"{name}-{place}"] = text.replace(old, number).encode()
        return found

    return make


def _tomls() -> dict[str, bytes]:
    return {
        "nested-lists": b"a = " + b"[" * 4000,
        "nested-tables": b"a = " + b"{a = " * 800,
        "a-key-of-parts": b"a." * 2000 + b"a = 1",
        "a-table-of-parts": b"[" + b"a." * 2000 + b"a]",
        "quoted-parts": b'"a".' * 1000 + b"a = 1",
        "digits": b"a = " + b"9" * 4000,
        "more-digits": b"a = -" + b"1_" * 2040 + b"1",
        "hexadecimal": b"a = 0x" + b"f" * 4000,
        "nan": b"[dictionaries.a]\nvariant = 'gated'\nsparsity.value = nan",
        "a-date": b"[dictionaries.a]\nvariant = 'gated'\nwidth = 2026-11-24",
        "a-control-character": b"title = '\x1b[31m'",
        "a-byte-order-mark": b"\xef\xbb\xbfname = 'a'",
        "utf-16": "name = 'a'".encode("utf-16"),
        "no-seeds": written.toml(whole.RUN | {"seeds": []}).encode(),
        "dials-alike": written.toml(whole.RUN | {"sweep": {"gated": [0.1, 0.1000000001]}}).encode(),
        "half-a-latent": written.toml(whole.RUN | {"sweep": {"topk": [2.5]}}).encode(),
        "many-mistakes": b"".join(b"x%d = 1\n" % number for number in range(300)),
    }


def _assignments() -> dict[str, bytes]:
    return {
        "digits": b"train.steps=" + b"9" * 4000,
        "more-digits": b"train.steps=0x" + b"f" * 4000,
        "nested": b"seeds=" + b"[" * 4000,
        "two-values": b"train.steps=5\ntrain.seed=6",
        "parts": b"a." * 2000 + b"a=1",
        "no-key": b"=1",
        "into-a-number": b"train.steps.x=1",
        "into-a-list": b"seeds.0=1",
        "half-a-letter": b"title=\xff",
        "home-of-nobody": b"source.texts=~nobody-here",
    }


def _texts() -> dict[str, bytes]:
    return {
        "empty": b"",
        "not-utf-8": b'{"text": "\xff"}\n',
        "half-a-letter": b'{"text": "\\ud800"}\n',
        "no-text": b'{"body": "x"}\n',
        "many-keys": whole.as_json({f"key-{number}": 1 for number in range(200)}),
        "a-number": b'{"text": 3}\n',
        "a-list": b"[]\n",
        "deep": b"[" * 4000,
        "digits": b"9" * 4000,
        "zeroes": b"\0" * 99,
        "utf-16": "text".encode("utf-16"),
    }


def _tables() -> dict[str, bytes]:
    return {
        "a-bomb": bz2.compress(b"text\n" + b"x\n" * 50_000_000),
        "a-bomb-in-a-line": bz2.compress(b"text\n" + b"x" * 90_000_000),
        "a-field-too-long": bz2.compress(b'text\n"' + b"x" * 200_000 + b'"\n'),
        "an-open-quote": bz2.compress(b'text\n"x'),
        "another-column": bz2.compress(b"body\nx\n"),
        "not-utf-8": bz2.compress(b"text\n\xff\n"),
        "nothing": bz2.compress(b""),
        "no-archive": b"text\nx\n",
        "cut": WHOLE["packed_table"]()[:-9],
        "columns": bz2.compress(b"text," * 9000 + b"\n" + b"x," * 9000),
    }


def _ggufs() -> dict[str, bytes]:
    """Counts and lengths at their bounds; the layout is magic, version, tensors, pairs, then pairs (key, type, value)."""
    data = WHOLE["gguf_file"]()
    key = struct.pack("<Q", 1) + b"a"

    def headed(pairs: int, rest: bytes, tensors: int = 0) -> bytes:
        return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + rest

    return {
        "no-magic": b"GGML" + data[4:],
        "old": data[:4] + struct.pack("<I", 1) + data[8:],
        "big-endian": data[:4] + struct.pack(">I", 3) + data[8:],
        "endless-pairs": headed(2**60, b""),
        "endless-tensors": headed(0, b"", tensors=2**60),
        "endless-array": headed(1, key + struct.pack("<IIQ", 9, 0, 2**60)),
        "endless-strings": headed(1, key + struct.pack("<IIQ", 9, 8, 2**60)),
        "endless-key": headed(1, struct.pack("<Q", 2**60)),
        "arrays-of-arrays": headed(1, key + struct.pack("<IIQ", 9, 9, 2**40)),
        "no-such-type": headed(1, key + struct.pack("<I", 77)),
        "nothing": headed(0, b""),
        "cut": data[: len(data) // 2],
        "no-heads": data.replace(_number("llama.attention.head_count", 2), _number("llama.attention.head_count", 0)),
        "endless-blocks": data.replace(_number("llama.block_count", 1), _number("llama.block_count", 2**31 - 1)),
        "wide": data.replace(_number("llama.embedding_length", 4), _number("llama.embedding_length", 2**31 - 1)),
    }


def _number(key: str, number: int) -> bytes:
    """A pair of metadata whose value is a 32-bit number."""
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<II", 4, number)


def _configs() -> dict[str, bytes]:
    table = disk.parse_json(WHOLE["model_config"]())
    changes: dict[str, dict[str, Any]] = {
        "no-heads": {"num_attention_heads": 0},
        "layers-are-text": {"num_hidden_layers": "1"},
        "no-type": {"model_type": None},
        "another-type": {"model_type": "clip"},
        "foreign-code": {"model_type": "strange", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}},
        "vocabulary-of-less-than-nothing": {"vocab_size": -4},
        "rope-is-a-list": {"rope_parameters": []},
        "wide": {"hidden_size": 2**40},
    }
    return {name: whole.as_json(table | change) for name, change in changes.items()}


def _sites() -> dict[str, bytes]:
    texts = {
        "nothing": "",
        "colons": ":::",
        "zero": "a\0b",
        "dots": "." * 3000,
        "digits": "9" * 4000,
        "tap": "tap:",
        "astral": "🦀:out",
    }
    return {name: text.encode() for name, text in texts.items()}


def _codes() -> dict[str, bytes]:
    return {
        "empty": b"",
        "short": b"\0" * 15,
        "a-checksum-of-nothing": xxhash.xxh3_128_digest(b""),
        "damaged": b"\0" * 16 + b"code",
    }


SHARED: dict[str, tuple[Callable[[], dict[str, bytes]], list[str]]] = {
    "documents": (
        _documents,
        [
            *("json_file", "json_lines", "folder_manifest", "store_description", "store_manifest", "checkpoint_state"),
            *(
                "dictionary_description",
                "report_file",
                "evaluation_file",
                "documents_file",
                "latents_file",
                "timings_file",
                "progress_file",
            ),
            *("run_json", "model_config", "model_tokenizer"),
        ],
    ),
    "headers": (_headers, ["tensor_file", "store_shard", "checkpoint_tensors", "dictionary_tensors", "model_weights"]),
    "texts": (_texts, ["text_file", "text_lines"]),
}
"""Hostile files for several targets, by the folder that they lie in."""

OWN: dict[str, Callable[[], dict[str, bytes]]] = {
    "folder_manifest": _manifests,
    "store_description": _descriptions,
    "checkpoint_state": _states,
    "dictionary_description": _dictionaries,
    "report_file": _numbers("report_file"),
    "evaluation_file": _numbers("evaluation_file"),
    "documents_file": _numbers("documents_file"),
    "latents_file": _numbers("latents_file"),
    "timings_file": _numbers("timings_file"),
    "progress_file": _numbers("progress_file"),
    "toml_file": _tomls,
    "assignment": _assignments,
    "packed_table": _tables,
    "gguf_file": _ggufs,
    "model_config": _configs,
    "site_name": _sites,
    "kernel_code": _codes,
}
"""Hostile files for one target."""
