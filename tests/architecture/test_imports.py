"""The rules about imports: layers, a light front door, and a list of public names that is complete."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import assay

ROOT = Path(__file__).parents[2]


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that are loaded after a statement in a fresh interpreter."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_layers_hold():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_by("import assay") & {"torch", "numpy", "transformers", "matplotlib", "pydantic", "tyro"}


def test_help_loads_nothing_heavy():
    assert not loaded_by("import assay.cli; assay.cli.main(['--help'])") & {
        "torch",
        "transformers",
        "matplotlib",
        "numpy",
    }


def test_training_needs_no_language_model_and_no_plots():
    light = loaded_by("import assay.training, assay.testing; from assay import Dictionary; Dictionary.registry.names()")
    assert "torch" in light
    assert not light & {"transformers", "matplotlib", "jinja2", "gguf", "pytest", "huggingface_hub"}


def test_importing_starts_no_device_and_no_connection():
    code = (
        "import sys, socket\n"
        "sys.addaudithook(lambda event, _: sys.exit(event) if event == 'socket.connect' else None)\n"
        "from assay import *\n"
        "import torch; assert not torch.cuda.is_initialized()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_public_names_are_few_sorted_and_there():
    names = assay.__all__
    assert len(names) <= 25
    assert names == sorted(set(names))
    assert all(getattr(assay, name).__doc__ for name in names)


def test_what_a_type_checker_sees_is_what_there_is():
    module = ast.parse(Path(assay.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in module.body if isinstance(node, ast.If)]
    seen = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(assay.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        assay.nothing  # pyright: ignore
