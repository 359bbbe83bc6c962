"""Numba functions as machine code that is compiled once a machine, kept on disk, and run by PyTorch's own threads.

A kernel is written as the work of one piece: `function(piece, worker, *arguments)`. Threads take the next piece until none is left, so
pieces balance themselves, and what a piece writes depends on the piece alone: results are the same for any number of threads.

Numba's own cache reads pickles. Here the cache holds object code under a digest of its source, the compiler and the processor; numba is
imported only when something must be compiled. On the way in, LLVM links the object into the process, as it does for code made just now.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import re
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import torch
import xxhash
from torch import Tensor

from assay import disk
from assay.errors import AssayError, ConfigError
from assay.folders import cache_folder

Argument: TypeAlias = Tensor | int | float

FAST_MATH = {"reassoc", "contract", "nsz"}
"""What arithmetic may change: the order of sums. NaN and infinity keep their meaning."""

DTYPES = {"f4": torch.float32, "i8": torch.int64, "i4": torch.int32, "u1": torch.uint8}
HEAD = 3
"""Slots before the arguments: next piece, next worker, number of pieces."""

ARM = ("aarch64", "arm64")

OPENED_AS_IT_IS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
"""Flags that follow no link and wait for no pipe, where the system has them."""

C_LIBRARY = {"memset", "memcpy", "memmove", "sqrtf"}
"""What compiled code may call."""

compile_seconds: dict[str, float] = {}
"""Seconds that each kernel took to compile in this process; empty when all came from the cache."""


class Kernel:
    """The function `name` of the module `bodies`, whose arguments have numba's short `types`: "f4[:,::1], i8[::1], i8, f8"."""

    def __init__(self, bodies: str, name: str, types: str) -> None:
        self.bodies, self.name = bodies, name
        self.types = re.findall(r"[a-z]\d(?:\[[^\]]*\])?", types)
        self.lock = threading.Lock()
        self.linked: Any = None

    def __call__(self, pieces: int, *arguments: Argument) -> None:
        """Run pieces 0 to `pieces` - 1 on all threads; returns when all are done."""
        if pieces == 0:
            return
        slots = [0, 0, pieces]
        for kind, argument in zip(self.types, arguments, strict=True):
            slots += _slots(kind, argument)
        _run_on_threads(self.address, (ctypes.c_int64 * len(slots))(*slots), min(torch.get_num_threads(), pieces))

    @cached_property
    def address(self) -> int:
        """Where the entry point lies; compiles or reads from the cache the first time."""
        with self.lock:
            if self.linked is None:
                self.linked = _link(self._object_code())
            return self.linked.get_function_address("assay_entry")

    def _object_code(self) -> bytes:
        path = cache_folder() / "kernels" / f"{self.name}-{self._digest()}.o"
        if (code := _read(path)) is not None:
            return code
        started = time.perf_counter()
        try:
            code = _compile(getattr(importlib.import_module(self.bodies), self.name), self.types)
        except Exception as error:
            raise ConfigError(
                f"numba {version('numba')} cannot compile {self.name} for {host()[0]} ({error})",
                expected="a release that assay was tested with, see constraints.txt",
                do="Install that, or set ASSAY_OPS=portable to do without it.",
            ) from error
        compile_seconds[self.name] = time.perf_counter() - started
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            disk.write(path, xxhash.xxh3_128_digest(code) + code)
            path.chmod(0o644)
        except (OSError, AssayError):  # a cache that cannot be written is no cache
            pass
        return code

    def _digest(self) -> str:
        sources = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))]
        return xxhash.xxh3_64_hexdigest("\n".join([*sources, *self.types, *_compilers(), *host()]).encode())


def _read(path: Path) -> bytes | None:
    """Object code that this user wrote, that nobody else may change, and that is whole; None where there is none.

    It will be run, so what is read is what was looked at: one file, opened once, and no link to another.
    """
    try:
        descriptor = os.open(path, OPENED_AS_IT_IS)
        if not _ours(os.fstat(descriptor)):
            os.close(descriptor)
            return None
        with open(descriptor, "rb") as file:
            data = file.read()
    except OSError:
        return None
    checksum, code = data[:16], data[16:]
    return code if xxhash.xxh3_128_digest(code) == checksum else None


def _ours(about: os.stat_result) -> bool:
    """Whether it is a file that this user owns, and that its group and others cannot write to; Windows has no such bits."""
    mine = not hasattr(os, "getuid") or (about.st_uid == os.getuid() and not about.st_mode & 0o022)
    return stat.S_ISREG(about.st_mode) and mine


@cache
def host() -> tuple[str, str]:
    """The processor's name, and the features that code is compiled for; empty where there is no compiler."""
    if find_spec("numba") is None or find_spec("llvmlite") is None:
        return "", ""
    from llvmlite import binding

    return binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()


@cache
def available() -> bool:
    """Whether there is a compiler, and the processor multiplies and adds in one step."""
    return "+fma" in host()[1] or (host()[0] != "" and platform.machine().lower() in ARM)


@cache
def _compilers() -> tuple[str, ...]:
    return version("numba"), version("llvmlite"), platform.python_version(), platform.machine()


def _axes(kind: str) -> int:
    return kind.count(",") + 1 if "[" in kind else 0


def _slots(kind: str, argument: Argument) -> list[int]:
    """Numba's calling convention: an array is null, null, items, item size, address, shape, strides in bytes."""
    if not isinstance(argument, Tensor):
        return [int(argument)] if kind[0] == "i" else [ctypes.c_int64.from_buffer(ctypes.c_double(argument)).value]
    if argument.dtype != DTYPES[kind[:2]] or argument.ndim != _axes(kind):
        raise TypeError(f"a kernel takes {kind}, got {argument.dtype} with {argument.ndim} axes")
    if not argument.is_contiguous():
        raise TypeError("a kernel takes contiguous tensors")
    size = argument.element_size()
    strides = [size * step for step in argument.stride()]
    return [0, 0, argument.numel(), size, argument.data_ptr(), *argument.shape, *strides]


def _compile(function: Callable[..., None], types: list[str]) -> bytes:
    import numba
    from llvmlite import binding

    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "error_model": "numpy", "boundscheck": False}
    signature = f"void(i8, i8, {', '.join(types)})"
    compiled = numba.njit(signature, fastmath=FAST_MATH, **options)(function)
    (result,) = compiled.overloads.values()
    module = binding.parse_assembly(result.library.get_llvm_str())
    module.link_in(binding.parse_assembly(_entry(result.fndesc.llvm_func_name, types)))
    machine = _machine()
    _keep_only_entry(module, machine)
    return machine.emit_object(module)


def _keep_only_entry(module: Any, machine: Any) -> None:
    """Drop what numba's runtime left in the module, so that the code needs nothing but C's library."""
    from llvmlite import binding

    for function in module.functions:
        if not function.is_declaration and function.name != "assay_entry":
            function.linkage = "internal"
    passes = binding.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.add_strip_dead_prototype_pass()
    passes.run(module, binding.create_pass_builder(machine, binding.create_pipeline_tuning_options()))
    needed = {function.name for function in module.functions if function.is_declaration}
    if strangers := sorted(name for name in needed - C_LIBRARY if not name.startswith("llvm.")):
        raise RuntimeError(f"a kernel calls {', '.join(strangers)}, which is not there without numba")


def _entry(name: str, types: list[str]) -> str:
    """LLVM code of `void assay_entry(slots)`: take the next piece and call the function, until none is left."""
    loads, passed, slot = [], ["ptr %unused", "ptr %unused", "i64 %piece", "i64 %worker"], HEAD
    for kind in types:
        axes = _axes(kind)
        layout = (
            ["ptr", "ptr", "i64", "i64", "ptr", *["i64"] * 2 * axes] if axes else [{"i": "i64", "f": "double"}[kind[0]]]
        )
        for each in layout:
            loads += [f"%p{slot} = getelementptr i64, ptr %slots, i64 {slot}", f"%v{slot} = load {each}, ptr %p{slot}"]
            passed.append(f"{each} %v{slot}")
            slot += 1
    parameters = ", ".join(["ptr", "ptr", "i64", "i64", *(each.split()[0] for each in passed[4:])])
    return "\n".join(
        [
            f"declare i32 @{name}({parameters})",
            "define void @NRT_MemInfo_call_dtor(ptr %unowned) {",  # arrays are PyTorch's: numba has nothing to destroy
            "ret void",
            "}",
            "define void @assay_entry(ptr %slots) {",
            "entry:",
            "%unused = alloca ptr",
            "%workers = getelementptr i64, ptr %slots, i64 1",
            "%worker = atomicrmw add ptr %workers, i64 1 seq_cst",
            "%end = getelementptr i64, ptr %slots, i64 2",
            "%pieces = load i64, ptr %end",
            *loads,
            "br label %next",
            "next:",
            "%piece = atomicrmw add ptr %slots, i64 1 seq_cst",
            "%more = icmp slt i64 %piece, %pieces",
            "br i1 %more, label %work, label %done",
            "work:",
            f"%status = call i32 @{name}({', '.join(passed)})",
            "br label %next",
            "done:",
            "ret void",
            "}",
        ]
    )


def _machine() -> Any:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    name, features = host()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(cpu=name, features=features, opt=3, jit=True)


def _link(code: bytes) -> Any:
    from llvmlite import binding

    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def _run_on_threads(address: int, slots: Any, threads: int) -> None:
    """Have `threads` threads run the entry point: OpenMP's when PyTorch brought GNU's, whose threads are awake already."""
    if threads <= 1:
        _ENTRY(address)(slots)
    elif parallel := _gnu_openmp():
        parallel(address, slots, threads, 0)
    else:
        entry = _ENTRY(address)
        others = [_pool().submit(entry, slots) for _ in range(threads - 1)]
        entry(slots)
        for other in wait(others).done:
            other.result()


_ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def _gnu_openmp() -> Any:
    """GOMP_parallel(function, data, threads, flags) of the library that PyTorch has loaded; None where it uses another."""
    try:
        library = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        parallel = library.GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes, parallel.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return parallel


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="assay-kernel")
