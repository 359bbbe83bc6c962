"""Tensor files: every bit comes back, and no header is trusted, however hostile."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as serialised

from assay import disk, tensor_file
from assay.errors import CorruptData

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(4.0), "c": torch.tensor([1, 2])}


@pytest.fixture
def tensors(tmp_path) -> Path:
    tensor_file.write(tmp_path / "t.safetensors", TENSORS)
    return tmp_path / "t.safetensors"


def forge(path: Path, header: Any, data: bytes = b"\0" * 24, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def test_tensors_come_back_bit_for_bit(tensors):
    found = tensor_file.read(tensors)
    assert set(found) == set(TENSORS)
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in TENSORS.items()
    )


DTYPES = st.sampled_from(list(tensor_file.NAMES))
SHAPES = st.lists(st.integers(0, 5), max_size=3)


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.dictionaries(st.text(min_size=1, max_size=9), st.tuples(DTYPES, SHAPES), max_size=6),
    block=st.integers(1, 200),
)
def test_a_file_is_what_safetensors_would_write(tmp_path_factory, kinds, block):
    made = {
        name: (torch.arange(torch.Size(shape).numel()).view(shape) % 2).to(dtype)
        for name, (dtype, shape) in kinds.items()
    }
    path = tmp_path_factory.mktemp("same") / "t"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "BLOCK", block)
        size, digest = tensor_file.write(path, made)
    assert path.read_bytes() == serialised(made)
    assert (size, digest) == (path.stat().st_size, disk.hash_file(path))


def test_a_large_tensor_is_not_copied_to_be_written_or_read(tmp_path):
    big = torch.ones(32 << 20)
    before = peak_of_this_process()
    tensor_file.write(tmp_path / "t", {"big": big, "small": torch.ones(3)})
    assert tensor_file.read(tmp_path / "t")["small"].tolist() == [1, 1, 1]
    assert peak_of_this_process() - before < big.nbytes // 2


def peak_of_this_process() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_tensors_in_any_memory_order_are_written(tmp_path):
    tensor_file.write(tmp_path / "t", {"t": TENSORS["a"].T, "p": torch.nn.Parameter(TENSORS["a"])})
    assert torch.equal(tensor_file.read(tmp_path / "t")["t"], TENSORS["a"].T)


def test_the_header_is_read_without_the_data(tensors):
    assert {name: entry["shape"] for name, entry in tensor_file.header_of(tensors).items()} == {
        "a": [2, 3],
        "b": [],
        "c": [2],
    }


@pytest.mark.parametrize(
    "expected",
    [
        {"a": ("F32", (3, 2)), "b": ("F32", ()), "c": ("I64", (2,))},
        {"a": ("F16", (2, 3)), "b": ("F32", ()), "c": ("I64", (2,))},
        {"a": ("F32", (2, 3)), "b": ("F32", ())},
        {"a": ("F32", (2, 3)), "b": ("F32", ()), "c": ("I64", (2,)), "d": ("F32", ())},
        {},
    ],
)
def test_other_tensors_than_expected_are_refused(tensors, expected):
    with pytest.raises(CorruptData, match="holds other tensors"):
        tensor_file.read(tensors, expected)


def test_expected_tensors_are_read(tensors):
    assert len(tensor_file.read(tensors, {"a": ("F32", (2, 3)), "b": ("F32", ()), "c": ("I64", (2,))})) == 3


A = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
HOSTILE_HEADERS = {
    "not JSON": b"{",
    "a list": [A],
    "a text": "a",
    "deep": b"[" * 100_000,
    "entry is no table": {"a": 3},
    "no offsets": {"a": {"dtype": "F32", "shape": [2, 3]}},
    "no shape": {"a": {"dtype": "F32", "data_offsets": [0, 24]}},
    "negative shape": {"a": {**A, "shape": [-2, -3]}},
    "huge shape": {"a": {**A, "shape": [2**62, 2**62]}},
    "fractional shape": {"a": {**A, "shape": [2.0, 3.0]}},
    "shape is a text": {"a": {**A, "shape": "23"}},
    "offsets past the end": {"a": {**A, "data_offsets": [0, 48]}},
    "offsets before the beginning": {"a": {**A, "data_offsets": [-24, 24]}},
    "offsets backwards": {"a": {**A, "data_offsets": [24, 0]}, "b": A},
    "offsets overlap": {"a": A, "b": A},
    "offsets leave a hole": {"a": {**A, "shape": [1], "data_offsets": [20, 24]}},
    "offsets are texts": {"a": {**A, "data_offsets": ["0", "24"]}},
    "offsets are too few": {"a": {**A, "data_offsets": [24]}},
    "offsets are infinite": b'{"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, Infinity]}}',
    "unknown dtype": {"a": {**A, "dtype": "F99"}},
    "data too short for the shape": {"a": {**A, "shape": [2, 4]}},
    "data too long for the shape": {"a": {**A, "shape": [2, 2]}},
    "a shape that wraps around": {"a": {**A, "shape": [2**32, 2**32, 6]}},
    "more dimensions than a tensor has": {"a": {**A, "shape": [1] * 500 + [6]}},
    "truths for sizes": {"a": {**A, "shape": [True, 6]}},
    "a fractional offset": {"a": {**A, "data_offsets": [0.0, 24]}},
    "a name twice": b'{"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "a": 3}',
    "a type that no tensor of ours has": {"a": {**A, "dtype": "F8_E8M0", "shape": [24]}},
}


@pytest.mark.parametrize("header", HOSTILE_HEADERS.values(), ids=HOSTILE_HEADERS.keys())
@pytest.mark.parametrize("expected", [None, {"a": ("F32", (2, 3))}], ids=["unasked", "expected"])
def test_hostile_headers_are_corrupt_data(tmp_path, header, expected):
    with pytest.raises(CorruptData):
        tensor_file.read(forge(tmp_path / "t", header), expected)


@pytest.mark.parametrize("dtype", [{}, {"dtype": ["F32"]}, {"dtype": 3}], ids=["missing", "a list", "a number"])
def test_a_dtype_that_is_none_is_corrupt_data(tmp_path, dtype):
    entry = {"shape": [2, 3], "data_offsets": [0, 24], **dtype}
    with pytest.raises(CorruptData):
        tensor_file.read(forge(tmp_path / "t", {"a": entry}), {"a": ("F32", (2, 3))})


@pytest.mark.parametrize("length", [2**64 - 1, 2**40, tensor_file.HEADER_LIMIT + 1, 1000, 3])
def test_a_header_of_the_wrong_length_is_not_read_into_memory(tmp_path, length):
    with pytest.raises(CorruptData):
        tensor_file.read(forge(tmp_path / "t", {"a": A}, length=length))


def test_every_truncation_is_noticed(tensors):
    whole = tensors.read_bytes()
    for size in range(len(whole)):
        tensors.write_bytes(whole[:size])
        with pytest.raises(CorruptData):
            tensor_file.read(tensors)
    tensors.write_bytes(whole + b"\0")
    with pytest.raises(CorruptData):
        tensor_file.read(tensors)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_tensors_or_corrupt_data(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("bytes") / "t"
    path.write_bytes(struct.pack("<Q", len(data) // 2) + data)
    with pytest.raises(CorruptData):
        tensor_file.read(path)


def test_a_shape_beyond_its_data_is_refused_by_the_header_alone(tmp_path):
    claimed = {"dtype": "F32", "shape": [2**20, 2**10], "data_offsets": [0, 4]}
    with pytest.raises(CorruptData, match="do not lie where its shape says"):
        tensor_file.header_of(forge(tmp_path / "t", {"atoms": claimed}, b"\0" * 4))


def test_tensors_without_entries_and_without_axes_are_whole(tmp_path):
    tensors = {
        "none": torch.zeros(0, 3),
        "also": torch.zeros(2, 0),
        "one": torch.tensor(3),
        "half": torch.ones(3).half(),
    }
    tensor_file.write(tmp_path / "t", tensors)
    found = tensor_file.read(tmp_path / "t", tensor_file.signature(tensors))
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
