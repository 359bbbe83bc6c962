"""What papers say of dictionaries of a language model: a recipe is run, and read.

`python -m tests.science --language gated_ablations` harvests, trains and evaluates the recipe in build/language. A reading
(`language_*.py`) turns the finished run into figures by seed, and claims hold them against targets as elsewhere. Interrupted, the same
command goes on. Kept in docs/results/language/NAME.json.
"""

from __future__ import annotations

import datetime
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assay.record import Record, machine
from assay.reports import matching
from assay.reports.families import Family
from assay.reports.matching import Frontier, frontier
from assay.run import kept
from assay.run.stages import Workspace
from benchmarks.results import commit
from tests.science.claims import Claim, Trial

ROOT = Path(__file__).resolve().parents[2]
RESULTS, RUNS = ROOT / "docs" / "results" / "language", ROOT / "build" / "language"


@dataclass(frozen=True)
class Reading:
    """What a finished run says."""

    figures: Mapping[int, Mapping[str, float]]
    """Figures by seed, named as the claims name them."""
    details: Any = None
    """Whatever else is worth keeping, as JSON."""


@dataclass(frozen=True)
class Reader:
    """Claims about a recipe, and the function that reads its run."""

    recipe: str
    setting: str
    claims: tuple[Claim, ...]
    read: Callable[[Workspace], Reading]
    verb: str
    """`sweep`, or `train` where the recipe's dictionaries have dials of their own."""


READERS: dict[str, Reader] = {}


def reading(recipe: str, setting: str, *claims: Claim, verb: str = "sweep") -> Callable[..., Any]:
    """Register a function of a finished run of a recipe as what decides these claims."""

    def register(read: Callable[[Workspace], Reading]) -> Callable[[Workspace], Reading]:
        READERS[recipe] = Reader(recipe, setting, claims, read, verb)
        return read

    return register


@dataclass(frozen=True)
class Line:
    """The dictionaries of one name and seed, over their dial; between them straight in log L0, as reports compare them."""

    family: Family

    @property
    def records(self) -> tuple[Record, ...]:
        """By rising L0."""
        return tuple(sorted(self.family.records, key=lambda record: _value(record, "l0")))

    def frontier(self, key: str) -> Frontier:
        """A number against L0. Raises SystemExit without two points."""
        found = frontier(self.family, key)
        if found is None:
            raise SystemExit(f"{self.family.label} has no two points of {key}; move the dials")
        return found

    def at(self, l0: float, key: str) -> float:
        """A number at an L0 within reach."""
        return self.frontier(key).at(l0).mean

    def all(self, key: str) -> list[float]:
        """A number of each dictionary, by rising L0."""
        return [_value(record, key) for record in self.records]


def line(workspace: Workspace, name: str, seed: int) -> Line:
    """What was measured of a dictionary of the run's settings and a seed, along its sweep."""
    named = {f"{name}-{dial:g}{end}" for dial in workspace.run.sweep[name] for end in ("", f"-s{seed}")}
    found = [record for record in records(workspace) if record.arm in named and record.seed == seed]
    return Line(Family(name, 0, tuple(found)))


def common(lines: Sequence[Line], places: int = 17) -> list[float]:
    """L0 that all lines reach, from the least to the largest in equal steps of its logarithm. Raises SystemExit without any."""
    reach = [each.frontier("explained_variance").l0_range() for each in lines]
    bounds = matching.common(reach)
    if bounds is None:
        raise SystemExit(f"no common L0: {reach}; move the dials")
    return np.geomspace(*bounds, places).clip(*bounds).tolist()


def records(workspace: Workspace) -> tuple[Record, ...]:
    """What `assay evaluate` measured. Raises SystemExit before it."""
    measured = kept.read_measurements(workspace.folder)
    if measured is None:
        raise SystemExit(f"{workspace.folder} holds no evaluation")
    return measured.records


def readers() -> dict[str, Reader]:
    """Every reading by the name of its recipe."""
    for path in sorted(Path(__file__).parent.glob("language_*.py")):
        importlib.import_module(f"tests.science.{path.stem}")
    return READERS


def rows() -> list[dict[str, Any]]:
    """The rows of all recipes that were read."""
    return [row for path in sorted(RESULTS.glob("*.json")) for row in json.loads(path.read_text("utf-8"))["rows"]]


def run(names: Sequence[str]) -> None:
    """Run recipes and read them; all that have a reading unless named."""
    for name in names or readers():
        reader, folder = readers()[name], RUNS / name
        for verb in ("harvest", reader.verb, "evaluate"):
            subprocess.run([sys.executable, "-m", "assay", verb, name, "--out", str(folder)], check=True)
        write(reader, Workspace.open(folder))


def write(reader: Reader, workspace: Workspace) -> None:
    """docs/results/language/NAME.json: how it was made, what it says, and the records that it follows from."""
    found = reader.read(workspace)
    trial = Trial(reader.recipe, reader.setting, reader.claims, tuple(found.figures), found.figures.__getitem__)
    result = {
        "meta": {
            "command": f"python -m tests.science --language {reader.recipe}",
            "commit": commit(),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": machine(),
            "seconds": kept.read_timings(workspace.folder),
        },
        "rows": trial.rows(found.figures),
        "details": found.details,
        "records": [record.row() for record in records(workspace)],
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{reader.recipe}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in result["rows"]:
        print(f"{row['claim']}: {row['metric']} {row['value']:.3g}, target {row['target']}, {row['verdict']}")


def _value(record: Record, key: str) -> float:
    value = record.values[key]
    if value is None:
        raise SystemExit(f"{record.arm} has no {key}")
    return value
