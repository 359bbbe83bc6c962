"""Registries: found without being listed, near misses suggested, plug-ins as good as what is built in."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from assay.dictionary import Dictionary
from assay.errors import UnknownName
from assay.registry import Registry

SCRATCH = '''
"""A variant from another distribution: ReLU with its own name for the penalty."""

from typing import ClassVar

from torch import nn
import torch

from assay import ops
from assay.dictionary import Dictionary, Pass, Weight


class Scratch(Dictionary, name="scratch", paper="none"):
    """relu(W x + b)"""

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "lightness.value"
        lightness: Weight = Weight(value=0.1)
        """L1 on the codes."""

    def __init__(self, config):
        super().__init__(config)
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.bias = nn.Parameter(torch.zeros(config.width))

    def encode_scaled(self, x):
        products = ops.select_positive(x - self.decoder_bias, self.encoder, self.bias)
        return products.with_values(products.values + products.spread(self.bias))

    def losses(self, step):
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "lightness": codes.values.sum() / len(codes),
        }
        return Pass(codes, reconstruction, terms)
'''

SESSION = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from assay.dictionary import Dictionary
assert "scratch" in Dictionary.registry.names(), Dictionary.registry.names()
assert "gated" in Dictionary.registry.names()
from assay.activations.store import ActivationStore
from assay.testing import check_dictionary
from assay.training import TrainConfig, train
dictionary = Dictionary.registry.named("scratch").Config(d_in=6, width=12).build()
before = dictionary.bias.detach().clone()
store = ActivationStore.of(torch.randn(256, 6), batch_size=32)
steps = [progress.step for progress in train({"mine": dictionary}, store, TrainConfig(steps=5, log_every=1))]
assert steps == [1, 2, 3, 4, 5], steps
assert not torch.equal(before, dictionary.bias)
dictionary.save(Path(sys.argv[1]) / "saved")
again = Dictionary.load(Path(sys.argv[1]) / "saved")
assert type(again).__module__ == "scratch_variant" and torch.equal(again.bias, dictionary.bias)
check_dictionary(type(dictionary))
print("kept the contract")
"""


def install(folder: Path, module: str, source: str, entry: str) -> None:
    """What pip would leave behind: a module, and the metadata that declares it."""
    (folder / f"{module}.py").write_text(source)
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[assay.dictionaries]\n{entry}\n")


def run(code: str, *arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_a_plug_in_trains_saves_loads_and_keeps_the_contract(tmp_path):
    install(tmp_path, "scratch_variant", SCRATCH, "scratch = scratch_variant")
    done = run(SESSION, str(tmp_path), path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "kept the contract"


NAMES = """
from assay.dictionary import Dictionary
from assay.errors import ConfigError
for attempt in range(2):
    try:
        print(Dictionary.registry.names())
    except ConfigError as error:
        print(error.got)
"""


def test_a_broken_plug_in_is_named_every_time(tmp_path):
    install(tmp_path, "broken_variant", "raise RuntimeError('half done')", "broken = broken_variant")
    done = run(NAMES, path=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == second
    assert first == "the plug-in 'broken' (broken_variant) failed to import: RuntimeError('half done')"


def test_a_plug_in_cannot_take_a_built_in_name(tmp_path):
    install(tmp_path, "thief_variant", SCRATCH.replace('name="scratch"', 'name="gated"'), "thief = thief_variant")
    done = run(NAMES, path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "are called 'gated'" in done.stdout.splitlines()[0]


@pytest.fixture
def zoo(tmp_path, monkeypatch) -> str:
    """A package of two modules, each of which adds itself to the registry of its package."""
    package = tmp_path / "zoo_package"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from assay.registry import Registry\nANIMALS = Registry('animal', 'zoo_package')\n"
    )
    for name in ("lion", "zebra"):
        (package / f"{name}.py").write_text(
            f"from zoo_package import ANIMALS\nANIMALS.add('{name}', '{name.upper()}')\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    yield "zoo_package"
    for module in [module for module in sys.modules if module.startswith("zoo_package")]:
        del sys.modules[module]


def animals(package: str) -> Registry[str]:
    __import__(package)
    return sys.modules[package].ANIMALS


def test_members_are_found_by_being_there(zoo):
    registry = animals(zoo)
    assert registry.names() == ["lion", "zebra"]
    assert registry.named("zebra") == "ZEBRA"


def test_an_unknown_name_suggests_the_nearest(zoo):
    with pytest.raises(UnknownName, match=r"expected one of lion, zebra\. Did you mean 'zebra'") as caught:
        animals(zoo).named("zebro")
    assert caught.value.exit_code == 1
    with pytest.raises(UnknownName, match="assay list"):
        animals(zoo).named("xylophone")


def test_a_name_is_given_once(zoo):
    registry = animals(zoo)
    assert "lion" in registry.names()
    with pytest.raises(TypeError, match="two animals are called 'lion'"):
        registry.add("lion", "another")


def test_the_hint_is_a_command_that_exists():
    with pytest.raises(UnknownName, match="`assay list dictionaries`"):
        Dictionary.registry.named("xyzzy")


def test_a_module_that_fails_to_import_fails_every_time(zoo, tmp_path):
    (tmp_path / "zoo_package" / "aardvark.py").write_text("raise RuntimeError('half done')")
    registry = animals(zoo)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="half done"):
            registry.names()


def test_built_in_dictionaries_are_found():
    assert {"gated", "jumprelu", "relu", "topk"} <= set(Dictionary.registry.names())
    with pytest.raises(UnknownName, match="Did you mean 'gated'"):
        Dictionary.registry.named("gatd")
