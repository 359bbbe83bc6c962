"""The Triton kernels against plain formulas in float64: in Triton's interpreter, or on a GPU if TRITON_INTERPRET=0."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

os.environ.setdefault("TRITON_INTERPRET", "1")  # triton reads it while it is imported
pytest.importorskip("triton", reason="triton is not installed")

from assay.codes import CsrSupport
from assay.ops import triton as kernels

DEVICE = "cpu" if os.environ["TRITON_INTERPRET"] == "1" else "cuda"
ROWS, LATENTS, WIDTH = 37, 70, 19
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SMALL_BLOCKS = {"TILE_ROWS": 16, "TILE_LATENTS": 32, "TILE_DEPTH": 16, "COMPACT_ROWS": 8, "ENTRIES": 8, "COLUMNS": 16}


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request, monkeypatch):
    for name, size in SMALL_BLOCKS.items() if request.param == "many blocks" else ():
        monkeypatch.setattr(kernels, name, size)


def positive(x: Tensor, encoder: Tensor, bias: Tensor, center: Tensor | None = None) -> Any:
    center = x.new_zeros(x.shape[1]) if center is None else center
    return kernels.outside(x, center, encoder, -bias, torch.full_like(bias, -torch.inf), len(x) * len(encoder))


def whole(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Small whole numbers: their products and sums are exact in every dtype, and often meet a threshold exactly."""
    numbers = torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed))
    return numbers.to(DEVICE, dtype)


def check_positive(x: Tensor, encoder: Tensor, bias: Tensor, center: Tensor | None = None) -> Tensor:
    """Compares with the plain formula; returns the mask of what fired."""
    product = (x.double() - (0 if center is None else center.double())) @ encoder.double().T
    fires = product > -bias.double()
    offsets, indices, products = positive(x, encoder, bias, center)
    assert offsets.dtype == indices.dtype == torch.int64
    assert offsets.diff().tolist() == fires.sum(1).tolist()
    assert offsets[0] == 0
    assert torch.equal(indices, fires.nonzero()[:, 1])
    torch.testing.assert_close(products, product[fires].to(products.dtype), rtol=0, atol=0)
    return fires


def entries(density: float, dtype: torch.dtype) -> tuple[CsrSupport, Tensor, Tensor]:
    """A support, its values, and the same as a table."""
    table = whole(ROWS, LATENTS, seed=3, dtype=dtype)
    kept = torch.rand(ROWS, LATENTS, generator=torch.Generator().manual_seed(4)).to(DEVICE) < density
    kept[5] = False
    offsets = torch.cat([kept.new_zeros(1, dtype=torch.int64), kept.sum(1).cumsum(0)])
    return CsrSupport(offsets, kept.nonzero()[:, 1], LATENTS), table[kept], torch.where(kept, table, 0).double()


def check_products(support: CsrSupport, values: Tensor, table: Tensor) -> None:
    """Each of the five against the table."""
    dtype = values.dtype
    rows, other = whole(len(support), WIDTH, seed=5, dtype=dtype), whole(len(support), WIDTH, seed=6, dtype=dtype)
    atoms = whole(support.width, WIDTH, seed=7, dtype=dtype)
    decoded = (table @ atoms.double()).to(dtype)
    assert torch.equal(kernels.times(support, values, atoms), decoded)
    pair = kernels.times_pair(support, values, 2 * values, atoms)
    assert torch.equal(torch.stack(pair), torch.stack([decoded, 2 * decoded]))
    assert torch.equal(kernels.transpose_times(support, values, rows), (table.T @ rows.double()).to(dtype))
    by_row = [(left.double() @ atoms.double().T)[support.rows, support.indices].to(dtype) for left in (rows, other)]
    assert torch.equal(kernels.dots(support, rows, atoms), by_row[0])
    assert torch.equal(torch.stack(kernels.dots_pair(support, rows, other, atoms)), torch.stack(by_row))


@pytest.mark.parametrize("dtype", DTYPES)
def test_support_and_products_are_those_of_the_plain_product(dtype):
    x, encoder = whole(ROWS, WIDTH, seed=0, dtype=dtype), whole(LATENTS, WIDTH, seed=1, dtype=dtype)
    bias, center = whole(LATENTS, seed=2, dtype=dtype) - 20, whole(WIDTH, seed=8, dtype=dtype)
    fires = check_positive(x, encoder, bias)
    assert 0.05 < fires.double().mean() < 0.3
    assert bool((check_positive(x, encoder, bias, center) != fires).any())


def test_products_outside_two_bounds_are_kept_up_to_a_limit(blocks):
    x, encoder, center = whole(ROWS, WIDTH, seed=0), whole(LATENTS, WIDTH, seed=1), whole(WIDTH, seed=8)
    high, low = whole(LATENTS, seed=2) + 25, whole(LATENTS, seed=13) - 25
    product = (x - center) @ encoder.T
    kept = (product > high) | (product < low)
    entries = kernels.outside(x, center, encoder, high, low, int(kept.sum()))
    assert entries is not None
    assert entries[0].diff().tolist() == kept.sum(1).tolist()
    assert torch.equal(entries[1], kept.nonzero()[:, 1])
    assert torch.equal(entries[2], product[kept])
    assert kernels.outside(x, center, encoder, high, low, int(kept.sum()) - 1) is None


def test_a_product_that_meets_its_threshold_does_not_fire():
    x, encoder = torch.ones(1, 2, device=DEVICE), torch.ones(3, 2, device=DEVICE)
    assert check_positive(x, encoder, torch.tensor([-2.0, -1.5, -2.5], device=DEVICE)).tolist() == [
        [False, True, False]
    ]


@pytest.mark.parametrize(("bias", "share"), [(1e9, 1.0), (torch.inf, 1.0), (-1e9, 0.0), (-torch.inf, 0.0)])
def test_everything_or_nothing_fires(bias, share):
    x, encoder = whole(ROWS, WIDTH, seed=0), whole(LATENTS, WIDTH, seed=1)
    assert check_positive(x, encoder, torch.full((LATENTS,), bias, device=DEVICE)).double().mean() == share


@pytest.mark.parametrize("shape", [(0, 70, 19), (1, 70, 19), (37, 0, 19), (37, 1, 1), (16, 64, 32), (17, 70, 19)])
def test_any_number_of_rows_latents_and_columns_will_do(blocks, shape):
    rows, latents, width = shape
    check_positive(whole(rows, width, seed=0), whole(latents, width, seed=1), whole(latents, seed=2))
    counts = whole(rows, seed=9).abs().long() * (latents > 0)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    indices = whole(int(offsets[-1]), seed=10).abs().long().clamp(max=max(latents - 1, 0))
    support, values = CsrSupport(offsets, indices, latents), whole(len(indices), seed=11)
    table = torch.zeros(rows, latents, device=DEVICE).index_put((support.rows, indices), values, accumulate=True)
    check_products(support, values, table.double())


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_are_those_of_the_dense_matrix(dtype):
    check_products(*entries(0.2, dtype))


@pytest.mark.parametrize("density", [0.0, 0.5])
def test_density_does_not_matter(density):
    check_products(*entries(density, torch.float32))


def test_entries_may_be_unsorted_and_repeated(blocks):
    offsets = torch.tensor([0, 6, 6, 9], device=DEVICE)
    indices = torch.tensor([69, 3, 3, 0, 12, 3, 69, 0, 69], device=DEVICE)
    support, values = CsrSupport(offsets, indices, LATENTS), whole(9, seed=11)
    table = torch.zeros(3, LATENTS, device=DEVICE).index_put((support.rows, indices), values, accumulate=True)
    check_products(support, values, table.double())


def test_a_row_that_is_not_a_number_stays_alone():
    x, encoder, bias = whole(ROWS, WIDTH, seed=0), whole(LATENTS, WIDTH, seed=1), whole(LATENTS, seed=2)
    x[3] = torch.nan
    fires = check_positive(x, encoder, bias)
    assert not fires[3].any()
    support, values, _ = entries(0.2, torch.float32)
    values[support.rows == 3] = torch.nan
    alone = torch.arange(ROWS, device=DEVICE) == 3
    assert torch.equal(kernels.times(support, values, encoder).isnan().any(1), alone)
    assert torch.equal(kernels.dots(support, x, encoder).isnan(), support.rows == 3)


def test_sums_of_halves_are_kept_in_float32():
    x, encoder = torch.ones(1, 1000, device=DEVICE).bfloat16(), torch.ones(1, 1000, device=DEVICE).bfloat16()
    _, _, products = positive(x, encoder, torch.zeros(1, device=DEVICE))
    assert products.dtype == torch.float32
    assert products.tolist() == [1000.0]
    support = CsrSupport(torch.tensor([0, 300], device=DEVICE), torch.zeros(300, device=DEVICE).long(), 1)
    assert bool((kernels.times(support, torch.ones(300, device=DEVICE), encoder) == 300).all())


def test_float32_products_are_as_close_as_float32_can_be():
    generator = torch.Generator().manual_seed(12)
    x, encoder = (torch.randn(rows, 300, generator=generator).to(DEVICE) for rows in (9, LATENTS))
    bias, center = torch.full((LATENTS,), -20.0, device=DEVICE), torch.randn(300, generator=generator).to(DEVICE)
    offsets, indices, products = positive(x, encoder, bias, center)
    exact = (x - center).double() @ encoder.double().T
    assert torch.equal(indices, (exact > 20).nonzero()[:, 1])
    rows = CsrSupport(offsets, indices, LATENTS).rows
    torch.testing.assert_close(products.double(), exact[rows, indices], rtol=1e-6, atol=1e-5)


def test_strides_do_not_matter():
    support, values, table = entries(0.2, torch.float32)
    flat = torch.ones((), device=DEVICE).expand(ROWS, WIDTH)  # the gradient of a sum
    atoms = whole(WIDTH, LATENTS, seed=7).T
    doubled = torch.stack([values, values], dim=1)[:, 0]
    assert torch.equal(kernels.times(support, doubled, atoms).double(), table @ atoms.double())
    assert torch.equal(kernels.transpose_times(support, doubled, flat).double(), table.T @ flat.double())
    assert torch.equal(kernels.dots(support, flat, atoms), atoms.sum(1)[support.indices])
    check_positive(flat, atoms, whole(1, seed=2).expand(LATENTS))


def in_a_process_of_its_own(code: str, **environment: Any) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_triton_is_loaded_only_when_asked_for():
    assert in_a_process_of_its_own("import sys, assay.ops; print('triton' in sys.modules)") == "False"


COMPILE = """
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from assay.ops import triton as kernels

gather = {"PAIR": True, "SUM": tl.float32, "ENTRIES": kernels.ENTRIES, "COLUMNS": kernels.COLUMNS}
tile = {"ROWS": kernels.TILE_ROWS, "LATENTS": kernels.TILE_LATENTS}
for number in ("*fp32", "*bf16"):
    for kernel, types, constants in (
        (kernels._mark, [number] * 4 + ["*i32"] * 2 + ["i32"] * 3, tile | {"DEPTH": 32, "SUM": tl.float32}),
        (kernels._compact, ["*i32", "*i64", "*i64", "i32"], tile | {"ROWS": kernels.COMPACT_ROWS}),
        (kernels._sum_gathered, ["*i64"] * 2 + [number] * 5 + ["i32"], gather),
        (kernels._dot_gathered, ["*i64"] * 2 + [number] * 5 + ["i32"] * 2, gather),
    ):
        names = kernel.arg_names
        signature = dict(zip(names, types)) | {name: "constexpr" for name in constants}
        constexprs = {(names.index(name),): value for name, value in constants.items()}
        compiled = triton.compile(ASTSource(kernel, signature, constexprs), target=GPUTarget("cuda", 80, 32))
        print(kernel.__name__, "tf32" in compiled.asm["ptx"])
"""


def test_the_kernels_compile_for_a_gpu_and_leave_float32_whole(tmp_path):
    told = in_a_process_of_its_own(COMPILE, TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path))
    assert (
        told.split() == ["_mark", "False", "_compact", "False", "_sum_gathered", "False", "_dot_gathered", "False"] * 2
    )
