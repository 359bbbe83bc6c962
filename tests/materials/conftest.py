"""A cache of its own for every test, a small wheel, and a stand-in for pip at the boundary of the process.

`assay` is imported inside the fixtures, after the hook that checks its annotations.
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from assay.materials.catalogue import Kind, Material


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ASSAY_CACHE", str(folder))
    return folder


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel(path: Path, files: dict[str, bytes]) -> bytes:
    """Write a wheel (a zip file) with these files and give back its bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path.read_bytes()


def material_of(wheel: bytes, files: dict[str, bytes], *, name: str = "tiny", kind: Kind = "text") -> Material:
    from assay.materials.catalogue import Material, Member

    members = tuple(Member(path, len(data), sha256(data)) for path, data in files.items())
    return Material(name, kind, f"{name}-package", "1.0", len(wheel), sha256(wheel), members, "CC0-1.0", "a test")


@dataclass
class FakePip:
    """Stands where subprocess.run stands: saves `wheel` into --dest, or fails with `stderr`."""

    wheel: bytes
    stderr: str = ""
    commands: list[list[str]] = field(default_factory=list)

    def __call__(self, command: list[str], **options) -> subprocess.CompletedProcess:
        self.commands.append(command)
        if self.stderr:
            return subprocess.CompletedProcess(command, 1, "", self.stderr)
        Path(command[command.index("--dest") + 1], "tiny_package-1.0-py3-none-any.whl").write_bytes(self.wheel)
        return subprocess.CompletedProcess(command, 0, "", "")


@dataclass
class Shelf:
    """A catalogue of one material and the pip that serves it."""

    pip: FakePip
    put: Callable[[Material], None]
    material: Material


FILES = {"tiny/data/one.bin": b"one" * 1000, "tiny/two.txt": b"two"}


@pytest.fixture
def shelf(tmp_path, cache, monkeypatch) -> Shelf:
    """The material "tiny": two members of a wheel that also holds files nobody asked for."""
    from assay.materials import catalogue

    fetching = importlib.import_module("assay.materials.fetch")  # the package has the function by this name
    strangers = {"../escaped.txt": b"evil", "tiny/__init__.py": b"raise SystemExit('imported')"}
    wheel = make_wheel(tmp_path / "made.whl", FILES | strangers)
    pip = FakePip(wheel)
    monkeypatch.setattr(fetching.subprocess, "run", pip)

    def put(material: Material) -> None:
        monkeypatch.setattr(catalogue, "CATALOGUE", {material.name: material})

    shelf = Shelf(pip, put, material_of(wheel, FILES))
    put(shelf.material)
    return shelf


@pytest.fixture(name="make_wheel")
def _make_wheel():
    return make_wheel


@pytest.fixture(name="material_of")
def _material_of():
    return material_of


@pytest.fixture(scope="session")
def tiny_llama() -> ModuleType:
    """The module beside this one; imported here, because it imports transformers."""
    spec = importlib.util.spec_from_file_location("tiny_llama", Path(__file__).with_name("tiny_llama.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
