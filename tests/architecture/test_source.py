"""The rules about files: short, headed, named for what they hold, and free of what unpickles."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "assay").rglob("*.py"))
EVERY = SOURCES + sorted((ROOT / "tests").rglob("*.py"))
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
UNPICKLERS = {
    *("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "pandas", "yaml"),
    "jsonpickle",
}
READERS = {
    "torch.load",
    "torch.hub.load",
    "torch.jit.load",
    "torch.serialization.load",
    "eval",
    "exec",
    "builtins.eval",
    "builtins.exec",
}
"""Functions that run what a file says, or can."""
HIDDEN = ("torch.package", "torch.distributed.checkpoint", "torch.serialization", "torch.hub")
"""Modules that unpickle: the metadata of a distributed checkpoint are a pickle."""


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_there_is_something_to_look_at():
    assert len(SOURCES) > 10


@pytest.mark.parametrize("path", EVERY, ids=shown)
def test_files_are_at_most_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parent.name == "dictionaries"], ids=shown)
def test_variants_are_at_most_100_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 100


@pytest.mark.parametrize("path", EVERY, ids=shown)
def test_files_are_named_for_what_they_hold(path):
    assert not {path.stem, *path.relative_to(ROOT).parent.parts} & BANNED_NAMES


@pytest.mark.parametrize("path", EVERY, ids=shown)
def test_files_begin_by_saying_what_is_special_about_them(path):
    assert ast.get_docstring(tree(path))


def unpicklers(module: ast.Module) -> list[str]:
    """Imports of modules that unpickle, and calls of functions that can."""
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if _unpickles(alias.name)]
        if isinstance(node, ast.ImportFrom):
            origin = (node.module or "").split(".")[0]
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            found += [name for name in names if _unpickles(name)]
            found += [f"{origin}.load" for alias in node.names if origin in ("torch", "numpy") and alias.name == "load"]
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            pickles = any(word.arg == "allow_pickle" and ast.unparse(word.value) != "False" for word in node.keywords)
            if name in READERS or name.startswith(HIDDEN) or pickles or _names_an_unpickler(node, name):
                found.append(name)
            if name.endswith("jit") and any(word.arg == "cache" for word in node.keywords):
                found.append(f"{name} with a cache of pickles")
            if name in ("np.load", "numpy.load") and not any(word.arg == "allow_pickle" for word in node.keywords):
                found.append(name)
            if name.endswith("from_pretrained") and any(
                word.arg == "trust_remote_code" and ast.unparse(word.value) != "False" for word in node.keywords
            ):
                found.append(f"{name} with trust_remote_code")
    return found


def _unpickles(name: str) -> bool:
    return name.split(".")[0] in UNPICKLERS or name.startswith(HIDDEN)


def _names_an_unpickler(node: ast.Call, name: str) -> bool:
    """`import_module("pickle")`, `__import__("pickle")`, `getattr(torch, "load")`."""
    texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
    texts = [text for text in texts if isinstance(text, str)]
    if name == "getattr":
        return "load" in texts or any(_unpickles(text) for text in texts)
    return name.endswith(("import_module", "__import__")) and any(_unpickles(text) for text in texts)


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_nothing_unpickles(path):
    assert unpicklers(tree(path)) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import torch; torch.load('x')",
        "from torch import load",
        "from joblib import load",
        "import numpy as np; np.load('x')",
        "import numpy as np; np.load('x', allow_pickle=True)",
        "eval('1')",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
        "import torch.distributed.checkpoint as dcp",
        "from torch.distributed import checkpoint",
        "from torch import package",
        "import importlib; importlib.import_module('pickle')",
        "__import__('dill')",
        "import torch; getattr(torch, 'load')('x')",
        "import torch; torch.serialization.load('x')",
        "import numba; numba.njit('void()', cache=True)(f)",
        "exec(open('x').read())",
    ],
)
def test_the_search_for_unpicklers_finds_them(code):
    assert unpicklers(ast.parse(code))


def importers(package: str) -> set[str]:
    """Files of the package that import `package`, anywhere in them."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(name.split(".")[0] == package for name in names):
                found.add(shown(path).removeprefix("src/assay/").split("/")[0])
    return found


@pytest.mark.parametrize(
    ("package", "places"),
    [
        ("transformers", {"activations", "sites", "materials"}),
        ("gguf", {"materials"}),
        ("matplotlib", {"reports"}),
        ("jinja2", {"reports"}),
        ("rich", {"cli", "reports"}),
        ("tyro", {"cli"}),
    ],
)
def test_optional_and_heavy_packages_stay_in_their_place(package, places):
    assert importers(package) <= places


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_there_are_no_machine_paths_and_no_promises(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/home/|/root/|/Users/|/work/|/mnt/|[A-Z]:\\\\", text)
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text)
