"""Every test runs with shape checks on, on one thread, with nothing unpickled and the cache elsewhere."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from typing import Any

import jaxtyping
import pytest

os.environ.setdefault("TRITON_INTERPRET", "1")  # read when triton is imported, whoever does it first

assert "assay" not in sys.modules, "assay was imported before its annotations could be checked"
# An int passes for a float, as in pyright.
jaxtyping.install_import_hook("assay", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

import torch  # noqa: E402 - after the hook

torch.set_num_threads(1)

UNPICKLERS = [
    *((torch, "load"), (torch.serialization, "load"), (torch.jit, "load"), (torch.hub, "load")),
    *((pickle, "load"), (pickle, "loads"), (pickle, "_load"), (pickle, "_loads")),
]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "unpickles: may unpickle, for example to send an error to another process")


@pytest.fixture(autouse=True)
def nothing_is_unpickled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a pickle fails the test, unless it is marked `unpickles`."""
    if request.node.get_closest_marker("unpickles"):
        return

    def refuse(*args: Any, **kwargs: Any) -> None:
        pytest.fail("something was unpickled; assay reads safetensors, JSON and TOML only")

    for module, name in UNPICKLERS:
        monkeypatch.setattr(module, name, refuse)


@pytest.fixture(autouse=True)
def a_cache_of_its_own(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The user's cache is out of reach; tests marked `model` share it, because the model in it is slow to make."""
    if not request.node.get_closest_marker("model"):
        monkeypatch.setenv("ASSAY_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A test that changes the number of threads doesn't slow the next."""
    yield
    torch.set_num_threads(1)
