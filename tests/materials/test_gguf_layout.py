"""A GGUF file is walked through before it is parsed: whatever it says that it holds must fit into it."""

from __future__ import annotations

import struct

import pytest

from assay.errors import AssayError, CorruptData
from assay.materials.convert import convert_llama
from assay.materials.gguf_layout import ENTRIES, check_layout

KEY = struct.pack("<Q", 1) + b"a"
U8, STRING, ARRAY = 0, 8, 9


def headed(pairs: int, rest: bytes, *, tensors: int = 0, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, pairs) + rest


def array(kind: int, count: int, items: bytes = b"") -> bytes:
    return KEY + struct.pack("<IIQ", ARRAY, kind, count) + items


FITTING = {
    "nothing": headed(0, b""),
    "version 2": headed(0, b"", version=2),
    "a number": headed(1, KEY + struct.pack("<II", 4, 7)),
    "a text": headed(1, KEY + struct.pack("<IQ", STRING, 2) + b"ab"),
    "an array of numbers": headed(1, array(U8, 3, b"abc")),
    "an array of texts": headed(1, array(STRING, 2, KEY + KEY)),
    "a tensor": headed(0, KEY + struct.pack("<IQQIQ", 2, 3, 4, 0, 0), tensors=1),
}
BEYOND = {
    "empty": b"",
    "another magic": headed(0, b"", magic=b"GGML"),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "version 1": headed(0, b"", version=1),
    "cut": headed(0, b"")[:-1],
    "endless pairs": headed(2**60, b""),
    "endless tensors": headed(0, b"", tensors=2**60),
    "an endless key": headed(1, struct.pack("<Q", 2**60)),
    "an endless text": headed(1, KEY + struct.pack("<IQ", STRING, 2**60)),
    "an endless array": headed(1, array(U8, 2**60)),
    "endless texts": headed(1, array(STRING, 2**60)),
    "an array of arrays": headed(1, array(ARRAY, 1)),
    "a type that there is not": headed(1, KEY + struct.pack("<I", 99)),
    "a tensor of many dimensions": headed(0, KEY + struct.pack("<I", 9) + b"\0" * 99, tensors=1),
    "more entries than are parsed": headed(1, array(U8, ENTRIES + 1, b"\0" * (ENTRIES + 1))),
}


@pytest.mark.parametrize("data", FITTING.values(), ids=FITTING)
def test_what_fits_is_let_through(tmp_path, data):
    (tmp_path / "a.gguf").write_bytes(data + b"\0")
    check_layout(tmp_path / "a.gguf")


@pytest.mark.parametrize("data", BEYOND.values(), ids=BEYOND)
def test_what_does_not_is_refused(tmp_path, data):
    (tmp_path / "a.gguf").write_bytes(data)
    with pytest.raises(ValueError, match=r"\w+"):
        check_layout(tmp_path / "a.gguf")
    with pytest.raises(CorruptData, match="cannot be read"):
        convert_llama(tmp_path / "a.gguf", tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"llama__attention__head_count": 0},
        {"llama__block_count": 2**31 - 1},
        {"llama__block_count": 99},
        {"llama__embedding_length": 2**31 - 1},
        {"llama__context_length": 2**32 - 1},
        {"llama__attention__head_count_kv": "two"},
        {"tokenizer__ggml__bos_token_id": 10**6},
        {"tokenizer__ggml__tokens": 3},
    ],
)
def test_metadata_that_contradict_the_tensors_are_told_in_words(tmp_path, tiny_llama, changes):
    weights = tiny_llama.gguf_weights(tiny_llama.tiny_model(tied=True))
    file = tiny_llama.write_gguf(tmp_path / "a.gguf", weights, **changes)
    with pytest.raises(AssayError):
        convert_llama(file, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
