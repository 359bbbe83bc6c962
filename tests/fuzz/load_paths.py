"""Every load path of the package under an audit hook, for a process of its own: `python -m tests.fuzz.load_paths FOLDER [CONTROL ...]`.

Prints JSON: for each path what it did that could run code from a file. Counted are the audit events of the unpickler (a class or
function is looked up), of marshal, and of compiling and executing code, and calls of `pickle.load`, `torch.load` and their kin, whose
weights-only unpickler raises no event. Importing modules is left out: it reads marshalled code of installed packages and runs it. So
each path runs twice, and what only its first run imports or makes (numba's compiler, classes of transformers) is judged by unpickling
alone. Controls do what no path may, to show that it would be seen.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UNPICKLING = {"pickle.find_class"}
EXECUTING = {"marshal.loads", "compile", "exec"}
READERS = {
    "pickle": ("load", "loads"),
    "torch": ("load",),
    "torch.serialization": ("load",),
    "torch.jit": ("load",),
    "torch._weights_only_unpickler": ("load",),
}
"""Functions that unpickle, wrapped so that a call is seen."""


class Watch:
    """What happened while it looked."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.looks_for: set[str] = set()
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit event."""
        if event in self.looks_for and not _importing():
            self.seen.append(f"{event} in {_place()}")

    def wrap(self) -> None:
        """See calls of the readers."""
        for module, names in READERS.items():
            place = importlib.import_module(module)
            for name in names:
                setattr(place, name, self._wrapped(getattr(place, name), f"{module}.{name}"))

    def _wrapped(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            if self.looks_for and not _importing():
                self.seen.append(f"{name} in {_place()}")
            return function(*arguments, **options)

        return called

    @contextmanager
    def looking(self, events: set[str]) -> Iterator[list[str]]:
        """Look for events inside."""
        self.seen, self.looks_for = [], events
        try:
            yield self.seen
        finally:
            self.looks_for = set()


def _frames() -> Iterator[str]:
    """Files of the stack, the innermost first, without this one."""
    frame = sys._getframe(1)
    while frame:
        if frame.f_code.co_filename != __file__:
            yield frame.f_code.co_filename
        frame = frame.f_back


def _importing() -> bool:
    return any(name.startswith("<frozen importlib") for name in _frames())


def _place() -> str:
    return " < ".join("/".join(Path(name).parts[-2:]) for name, _ in zip(_frames(), range(4), strict=False))


def paths(folder: Path) -> dict[str, Callable[[], Any]]:
    """A load path by name, each of which reads whole files in `folder` and can be taken again and again."""
    import torch

    from assay import disk
    from assay.activations import ActivationStore
    from assay.activations.store import verify_store
    from assay.config import parse, read_toml
    from assay.dictionary import Dictionary
    from assay.materials import load_language_model, load_texts
    from assay.materials.convert import convert_llama
    from assay.materials.texts import read_table
    from assay.ops import kernels
    from assay.ops.kernels.compiled import Kernel
    from assay.reports import read_report
    from assay.run import Run, Workspace, kept
    from assay.run.compare import compare_runs
    from assay.training import train
    from tests.fuzz import whole, written

    store = whole.put(whole.store(), folder / "store")
    dictionary = whole.put(whole.saved_dictionary(), folder / "gated")
    training = whole.put(whole.training(), folder / "training")
    run = whole.put(whole.run_folder(), folder / "run")
    texts = whole.put(whole.texts(), folder / "texts")
    whole.put({"a.gguf": whole.llama(), "run.toml": written.toml(whole.RUN).encode()}, folder)
    model = whole.put(whole.model_folder(), folder / "model")
    kernels.prepare()

    def read_store() -> None:
        opened = ActivationStore.open(store, batch_size=4)
        next(opened.batches())
        opened.mean()
        assert sum(len(shard.activations) for shard in opened.shards()) == opened.rows
        assert verify_store(store) == []

    def resume() -> None:
        again = list(train({"gated": whole.dictionary()}, whole.opened(store), whole.TRAINING, folder=training))
        assert again == [], "there was a checkpoint of the last step"

    def use_dictionary() -> None:
        Dictionary.load(dictionary)(torch.zeros(2, 2))

    def read_run() -> None:
        read_report(run / "report.json")
        assert kept.read_measurements(run)
        assert kept.read_document_sums(run)
        assert list(compare_runs([run]))
        assert kept.read_latents(run)
        assert kept.read_timings(run)
        assert kept.read_curves(run)

    def read_settings() -> None:
        parse(Run, read_toml(folder / "run.toml"), where="run.toml").arms(2, sweep=True)
        assert Workspace.open(run).run.name == "small"

    def convert() -> None:
        (folder / "converted").mkdir(exist_ok=True)
        convert_llama(folder / "a.gguf", folder / "converted")

    def kernel() -> None:
        fresh = Kernel("assay.ops.kernels.passes", "sum_by_latent", "i8[::1], i8[::1], f4[::1], f4[::1]")
        out, one = torch.zeros(1), torch.ones(1)
        fresh(1, torch.tensor([0, 1]), torch.tensor([0]), one, out)
        assert out.tolist() == [1.0]

    return {
        "store": read_store,
        "checkpoint": resume,
        "dictionary": use_dictionary,
        "run": read_run,
        "settings": read_settings,
        "texts": lambda: [load_texts(texts / name) for name in ("a.txt", "a.jsonl")],
        "packed texts": lambda: list(read_table(texts / "a.csv.bz2", "reviews")),
        "GGUF": convert,
        "language model": lambda: load_language_model(str(model)).model(torch.tensor([[1, 2]])),
        "kernel cache": kernel,
        "manifest": lambda: disk.check_manifest(dictionary),
    }


def controls(folder: Path) -> dict[str, Callable[[], Any]]:
    """What no load path may do."""
    import marshal
    import pickle
    from collections import OrderedDict

    import numpy as np
    import torch

    torch.save({"a": torch.zeros(1)}, folder / "a.pt")
    np.save(folder / "a.npy", np.array([OrderedDict()], dtype=object), allow_pickle=True)
    with_class = pickle.dumps(OrderedDict(a=1))
    (folder / "a.pickle").write_bytes(with_class)

    def unpickle() -> None:
        with open(folder / "a.pickle", "rb") as file:
            pickle.Unpickler(file).load()  # noqa: S301

    return {
        "pickle.loads": lambda: pickle.loads(with_class),  # noqa: S301
        "pickle.loads of a number": lambda: pickle.loads(pickle.dumps(1)),  # noqa: S301
        "pickle.Unpickler": unpickle,
        "torch.load": lambda: torch.load(folder / "a.pt", weights_only=True),
        "numpy.load": lambda: np.load(folder / "a.npy", allow_pickle=True),
        "marshal": lambda: marshal.loads(marshal.dumps(1)),
        "exec": lambda: builtins.exec("1"),
    }


def main(folder: Path) -> dict[str, list[str]]:
    """What each path and each control did, by name."""
    os.environ |= {"ASSAY_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    import torch

    torch.set_num_threads(1)
    watch = Watch()
    watch.wrap()
    found = {}
    for name, take in paths(folder).items():
        with watch.looking(UNPICKLING) as first:
            take()
        with watch.looking(UNPICKLING | EXECUTING) as second:
            take()
        found[name] = first + second
    for name, take in controls(folder).items():
        with watch.looking(UNPICKLING | EXECUTING) as seen:
            take()
        found[f"control: {name}"] = seen
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
