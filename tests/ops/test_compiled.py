"""Kernels are compiled once a machine: a cache that distrusts its files, arguments that are checked, and threads of either kind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from threading import Thread

import pytest
import torch

from assay import ops
from assay.codes import CsrSupport
from assay.errors import ConfigError
from assay.ops import kernels
from assay.ops.kernels import compiled
from assay.ops.kernels.compiled import Kernel
from assay.ops.kernels.geometry import LANES

SUMS = "assay.ops.kernels.passes", "sum_by_latent", "i8[::1], i8[::1], f4[::1], f4[::1]"

STARTS, ORDER = torch.tensor([0, 2, 2, 3]), torch.tensor([2, 0, 1])
VALUES, TOTALS = torch.tensor([1.0, 2.0, 4.0]), [5.0, 0.0, 2.0]


@pytest.fixture(autouse=True)
def an_empty_cache(monkeypatch, tmp_path):
    """A cache folder of the test's own, and a fresh record of what was compiled."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    monkeypatch.setattr(compiled, "compile_seconds", {})
    return tmp_path / "kernels"


def works(kernel):
    out = torch.full((3,), -1.0)
    kernel(1, STARTS, ORDER, VALUES, out)
    return out.tolist() == TOTALS


def compiles():
    """Whether a new process would compile the sums."""
    compiled.compile_seconds.clear()
    assert works(Kernel(*SUMS))
    return list(compiled.compile_seconds) == ["sum_by_latent"]


def run(script, cache):
    environment = {**os.environ, "ASSAY_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


SMALL_STEP = """
    import sys, torch
    from assay import ops
    from assay.ops import kernels
    torch.set_num_threads(2)
    x, encoder = torch.eye(40, 8), torch.ones(64, 8, requires_grad=True)
    with ops.forced("kernels", crossover=1.0):
        codes = ops.select_positive(x, encoder, torch.linspace(-1.5, 0.5, 64))
        ops.decode(codes, encoder).sum().backward()
    print(*sorted(kernels.compile_seconds), float(encoder.grad.sum()), "numba" in sys.modules)
"""


def test_a_second_process_compiles_nothing_and_does_not_import_numba(an_empty_cache):
    *first, total, _ = run(SMALL_STEP, an_empty_cache.parent)
    assert {"select_outside", "times", "transpose_times"} <= set(first)
    assert run(SMALL_STEP, an_empty_cache.parent) == [total, "False"]


NARROWER = """
    import platform, torch
    from llvmlite import binding
    platform.machine = lambda: "{machine}"
    everything = dict(binding.get_host_cpu_features())
    mine = {{name: has and not name.startswith({without}) for name, has in everything.items()}}
    class Features:
        flatten = staticmethod(lambda: ",".join("-+"[has] + name for name, has in sorted(mine.items())))
    binding.get_host_cpu_features, binding.get_host_cpu_name = Features, lambda: "{processor}"
    from assay.ops import kernels, portable
    from assay.ops.kernels.geometry import LANES
    x, encoder, center = torch.arange(301.0).view(43, 7) % 11 - 5, torch.arange(700.0).view(100, 7) % 13 - 6, torch.ones(7)
    bounds = torch.arange(100.0) % 31, -torch.arange(100.0) % 37 - 50
    selected = [module.outside(x, center, encoder, *bounds, 4300) for module in (kernels, portable)]
    top = [module.top(x, center, encoder, torch.arange(100.0) / 1024, 9) for module in (kernels, portable)]
    print(LANES, kernels.serves(x), len(selected[0][1]) > 500, *(torch.equal(a, b) for pair in (selected, top) for a, b in zip(*pair)))
"""


@pytest.mark.skipif(LANES < 16, reason="this processor has no wider vectors to do without")
@pytest.mark.parametrize(
    ("lanes", "machine", "processor", "without"),
    [
        ("8", "x86_64", "x86-64-v3", ("avx512", "avx10", "amx")),
        ("4", "aarch64", "x86-64", ("avx", "fma", "f16c", "amx", "vaes", "vpcl")),
    ],
    ids=["AVX2", "the blocks of ARM"],
)
def test_processors_with_narrower_vectors_choose_the_same(an_empty_cache, lanes, machine, processor, without):
    script = NARROWER.format(machine=machine, processor=processor, without=without)
    assert run(script, an_empty_cache.parent) == [lanes] + ["True"] * 8


@pytest.mark.parametrize(
    ("machine", "features", "serves"),
    [("x86_64", "+sse2,-fma", False), ("AMD64", "+avx2,+fma", True), ("arm64", "+neon", True), ("aarch64", "", True)],
)
def test_only_processors_that_multiply_and_add_in_one_step_are_served(monkeypatch, machine, features, serves):
    monkeypatch.setattr(compiled, "host", lambda: ("a processor", features))
    monkeypatch.setattr(compiled.platform, "machine", lambda: machine)
    assert compiled.available.__wrapped__() == serves


def test_a_kernel_that_does_not_compile_says_how_to_do_without(monkeypatch):
    def fail(*_):
        raise RuntimeError("no code for this")

    monkeypatch.setattr(compiled, "_compile", fail)
    with pytest.raises(ConfigError, match=r"cannot compile sum_by_latent .*no code for this.*ASSAY_OPS=portable"):
        works(Kernel(*SUMS))


def test_a_kernel_is_compiled_once():
    assert compiles()
    assert not compiles()


def test_prepare_leaves_nothing_to_compile():
    kernels.prepare()
    compiled.compile_seconds.clear()
    kernels.prepare()
    a_step()
    assert compiled.compile_seconds == {}


def damage_last_byte(path: Path):
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))


DAMAGE = {
    "one bit of the code": damage_last_byte,
    "one bit of the checksum": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "nothing but a checksum": lambda path: path.write_bytes(path.read_bytes()[:16]),
    "empty": lambda path: path.write_bytes(b""),
    "something else": lambda path: path.write_bytes(b"not an object file" * 99),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_compiled_again_and_replaced(an_empty_cache, damage):
    assert compiles()
    (path,) = an_empty_cache.iterdir()
    whole = path.read_bytes()
    damage(path)
    assert path.read_bytes() != whole
    assert compiles()
    assert path.read_bytes()[:16] == compiled.xxhash.xxh3_128_digest(path.read_bytes()[16:])
    assert not compiles()


def refuse_writing(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_cache_that_cannot_be_written_does_no_harm(monkeypatch, number):
    monkeypatch.setattr(os, "replace", refuse_writing(number))
    assert compiles()
    assert compiles()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS], ids=errno.errorcode.get)
def test_a_cache_folder_that_cannot_be_made_does_no_harm(monkeypatch, number):
    monkeypatch.setattr(Path, "mkdir", refuse_writing(number))
    assert compiles()


@pytest.mark.parametrize("place", ["", "kernels"], ids=["the cache", "its folder of kernels"])
def test_a_file_where_the_cache_folder_should_be_does_no_harm(monkeypatch, tmp_path, place):
    blocked = tmp_path / "blocked"
    monkeypatch.setenv("ASSAY_CACHE", str(blocked))
    (blocked / place).parent.mkdir(exist_ok=True)
    (blocked / place).write_text("a file")
    assert compiles()


@pytest.mark.parametrize("error", [PermissionError, IsADirectoryError, OSError])
def test_a_cache_that_cannot_be_read_does_no_harm(monkeypatch, error):
    assert compiles()

    def refuse(*_):
        raise error("no reading here")

    monkeypatch.setattr(compiled.os, "open", refuse)
    assert compiles()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
def test_code_that_another_user_wrote_is_not_run(monkeypatch):
    assert compiles()
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    assert compiles()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no such bits here")
@pytest.mark.parametrize("bits", [0o664, 0o646, 0o666])
def test_code_that_others_may_have_changed_is_not_run(an_empty_cache, bits):
    assert compiles()
    (path,) = an_empty_cache.iterdir()
    path.chmod(bits)
    assert compiles()
    assert path.stat().st_mode & 0o777 == 0o644
    assert not compiles()


def test_code_is_kept_so_that_only_its_owner_can_change_it_whatever_the_umask(an_empty_cache):
    before = os.umask(0)
    try:
        assert compiles()
    finally:
        os.umask(before)
    assert not compiles()


def test_a_link_in_the_place_of_code_is_not_followed(an_empty_cache):
    assert compiles()
    (path,) = an_empty_cache.iterdir()
    path.rename(an_empty_cache.parent / "elsewhere.o")
    path.symlink_to(an_empty_cache.parent / "elsewhere.o")
    assert compiles()
    assert not path.is_symlink()


def test_code_goes_by_its_types_its_sources_its_compiler_and_its_processor(monkeypatch):
    digest = Kernel(*SUMS)._digest()
    assert Kernel(*SUMS)._digest() == digest
    others = {Kernel(*SUMS[:2], types)._digest() for types in ("i8[::1]", "i4[::1], i8[::1], f4[::1], f4[::1]")}
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "host", lambda: ("another", "+processor"))
        others.add(Kernel(*SUMS)._digest())
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "_compilers", lambda: ("0", "0", "3.0", "another"))
        others.add(Kernel(*SUMS)._digest())
    read_text = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, **how: read_text(path, **how) + "\n# changed")
    others.add(Kernel(*SUMS)._digest())
    assert len(others | {digest}) == 6


WRONG = {
    "float64": (STARTS, ORDER, VALUES.double(), torch.empty(3)),
    "int32": (STARTS.int(), ORDER, VALUES, torch.empty(3)),
    "two axes": (STARTS, ORDER, VALUES[None], torch.empty(3)),
    "no axis": (STARTS, ORDER, VALUES[0], torch.empty(3)),
    "every second number": (STARTS, ORDER, torch.zeros(6)[::2], torch.empty(3)),
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_tensors_that_a_kernel_cannot_read_are_refused(arguments):
    with pytest.raises(TypeError, match="a kernel takes"):
        kernels._SUM_BY_LATENT(1, *arguments)


def test_a_transposed_matrix_is_refused_rather_than_read_wrong():
    out, matrix = torch.zeros(3, 3), torch.arange(9.0).view(3, 3)
    with pytest.raises(TypeError, match="contiguous"):
        kernels._TIMES(1, STARTS, ORDER, VALUES, matrix.T, out)


def test_too_few_arguments_are_refused():
    with pytest.raises(ValueError, match="zip"):
        kernels._SUM_BY_LATENT(1, STARTS, ORDER, VALUES)


def test_no_pieces_need_no_compiler(monkeypatch):
    monkeypatch.setattr(compiled, "_compile", None)
    Kernel(*SUMS)(0, STARTS, ORDER, VALUES, torch.empty(3))


def test_what_a_kernel_does_not_serve_goes_elsewhere(monkeypatch):
    assert kernels.serves(torch.zeros(1), torch.zeros(2, 2))
    assert not kernels.serves(torch.zeros(1), torch.zeros(1).double())
    assert not kernels.serves(torch.zeros(1, device="meta"))
    monkeypatch.setattr(kernels, "available", lambda: False)
    assert not kernels.serves(torch.zeros(1))
    with ops.forced("kernels"):
        assert ops.select_top_k(torch.ones(4, 2), torch.ones(6, 2), torch.zeros(6), 3).l0().tolist() == [3.0] * 4
    assert compiled.compile_seconds == {}


def a_step():
    """Support, reconstruction and gradients of a step that keeps both threads busy."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 19, generator=generator, requires_grad=True)
    encoder = torch.randn(500, 19, generator=generator, requires_grad=True)
    torch.set_num_threads(2)
    with ops.forced("kernels", crossover=1.0):
        codes = ops.select_positive(x, encoder, torch.full((500,), -3.0))
        decoded = ops.decode(codes, encoder)
        decoded.square().sum().backward()
    assert isinstance(codes.support, CsrSupport)
    return [*codes.entries(), decoded.detach(), encoder.grad, x.grad]


def in_threads(number, work):
    results: list = [None] * number

    def keep(place):
        results[place] = work()

    threads = [Thread(target=keep, args=(place,)) for place in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_kernels_run_in_other_threads_and_side_by_side():
    expected = a_step()
    assert len(expected[0]) > 10_000
    for number in (1, 3):
        for result in in_threads(number, a_step):
            assert result is not None
            assert all(map(torch.equal, result, expected))


def test_one_kernel_first_used_by_many_threads_is_compiled_once(an_empty_cache):
    kernel = Kernel(*SUMS)
    assert in_threads(4, lambda: works(kernel)) == [True] * 4
    assert len(list(an_empty_cache.iterdir())) == 1


class _Sum(torch.autograd.Function):
    """The sum of the values, whose backward runs a kernel."""

    @staticmethod
    def forward(ctx, values):
        return values.sum()

    @staticmethod
    def backward(ctx, gradient):
        out = torch.empty(3)
        kernels._SUM_BY_LATENT(1, STARTS, ORDER, VALUES, out)
        return out * gradient


def test_kernels_run_inside_backward():
    torch.set_num_threads(2)

    def backward():
        leaf = torch.zeros(3, requires_grad=True)
        _Sum.apply(leaf).backward()
        return leaf.grad

    assert [backward().tolist(), *(found.tolist() for found in in_threads(2, backward))] == [TOTALS] * 3


def test_the_pool_of_threads_gives_the_bits_of_openmp(monkeypatch):
    by_openmp = a_step()
    calls = []
    monkeypatch.setattr(compiled, "_gnu_openmp", lambda: calls.append("asked"))
    by_pool = a_step()
    assert calls, "the fall-back was taken"
    assert all(map(torch.equal, by_pool, by_openmp))
    assert all(map(torch.equal, in_threads(2, a_step)[1], by_openmp))


def test_an_error_of_a_worker_is_not_lost(monkeypatch):
    monkeypatch.setattr(compiled, "_gnu_openmp", lambda: None)

    class Refusing:
        def submit(self, *_):
            raise RuntimeError("no worker is left")

    monkeypatch.setattr(compiled, "_pool", Refusing)
    torch.set_num_threads(2)
    with pytest.raises(RuntimeError, match="no worker is left"):
        kernels._SUM_BY_LATENT(2, STARTS, ORDER, VALUES, torch.empty(3))
