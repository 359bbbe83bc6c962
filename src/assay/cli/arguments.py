"""What verbs share: naming a run, changing its settings, and printing results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from assay.config import Config, parse, parse_assignments, read_toml
from assay.errors import ConfigError, MissingMaterial, shown
from assay.folders import is_file, is_folder
from assay.reports.compared import text
from assay.run import Run, Workspace, recipes
from assay.run.compare import compare_runs

C = TypeVar("C", bound=Config)

RunName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
"""A TOML file, a recipe, or the folder of a run."""
Changes = Annotated[list[str], tyro.conf.arg(name="set", metavar="KEY=VALUE"), tyro.conf.UseAppendAction]
"""Settings to change, as dotted keys."""
Names = Annotated[list[str], tyro.conf.arg(metavar="NAME")]
RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
"""The folder of a run."""
Folder = Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")]
Switch = tyro.conf.FlagCreatePairsOff[bool]


def open_run(name: str, changes: list[str], out: Path | None) -> Workspace:
    """The workspace of a run that is named by TOML file, recipe or folder. Raises ConfigError, UnknownName, MissingMaterial."""
    path = Path(name)
    revised = parse_assignments(changes)
    if is_folder(path) and (is_file(path / "run.json") or name not in recipes.names()):
        workspace = Workspace.open(path)
        return Workspace(workspace.run.revised(revised) if revised else workspace.run, out or path)
    if path.suffix == ".toml" or is_file(path):
        run = parse(Run, read_toml(path), where=str(path))
    elif "/" in name:
        raise ConfigError(
            f"there is no {shown(name)}", expected="a TOML file, a recipe or the folder of a run", do="Check the path."
        )
    else:
        run = recipes.named(name)()
    run = run.revised(revised) if revised else run
    return Workspace(run, out or Path("runs") / run.name)


def run_folder(run: Path) -> Path:
    """The folder of a run that is named by it, or by its name in runs/. Raises MissingMaterial."""
    for folder in (run, Path("runs") / run):
        if is_folder(folder):
            return folder
    raise MissingMaterial(f"there is no folder {run}", expected="the folder of a run", do="Check the path.")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, sort_keys=True))


def print_each(found: Iterable[C], said: Callable[[C], str], json: bool) -> None:
    """Each in words as soon as it is there, or all in one JSON document."""
    if json:
        print_json([each.resolved() for each in found])
    else:
        for each in found:
            print(said(each), flush=True)


def print_comparisons(folder: Path) -> None:
    """The families of an evaluated run against each other, below its table."""
    for comparison in compare_runs([folder]):
        print(f"\n{text(comparison)}")
