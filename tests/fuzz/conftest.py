"""The parts of the fuzzers are modules beside the tests: the folder of `tests` must be importable, and nothing may reach the network."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up name of a model is not looked up on the hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast this machine multiplies, what it could free, and the models it has, matters to no example, and takes seconds."""
    from assay.run.needs import estimate, pace

    monkeypatch.setattr(pace, "product_rates", lambda: {"any": 1e11})
    monkeypatch.setattr(estimate, "give_back", lambda: None)
    monkeypatch.setattr(estimate, "_not_here", lambda workspace: [workspace.run.model.name])


@pytest.fixture(autouse=True, scope="module")
def few_objects() -> Iterator[None]:
    """What thousands of tests have left behind is not searched for garbage while the work of an example is timed."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
