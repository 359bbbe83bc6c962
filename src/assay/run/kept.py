"""What the stages of a run leave for one another in its folder, checked as it is read: a folder may come from somebody else.

evaluation.json            inputs (a digest), records, densities, records of baselines
documents.json             the sums that records are made of, by document
latents.json               inputs, latents
timings.json               seconds by stage
training/progress.jsonl    a line a logged step
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator

from assay import disk
from assay.analysis.by_document import DocumentSums
from assay.analysis.examples import LatentPage
from assay.config import Config, parse
from assay.errors import ConfigError, CorruptData
from assay.record import Number, Outcome, Record
from assay.reports.document import Curve, Histogram, check_examples
from assay.training.keeper import LOG

K = TypeVar("K", bound=Config)

EVALUATION, DOCUMENTS, LATENTS = "evaluation.json", "documents.json", "latents.json"
TIMINGS, TRAINING = "timings.json", "training"


class Measurements(Config):
    """evaluation.json."""

    inputs: str
    """Digest of what was measured, and on what."""
    records: tuple[Record, ...]
    """One a dictionary."""
    densities: dict[str, Histogram]
    """Firing frequencies by arm."""
    baselines: tuple[Record, ...] = ()
    """Dictionaries that learnt nothing, measured beside."""
    outcomes: tuple[Outcome, ...] = ()
    """What tasks found, dictionary by dictionary, baselines included."""


class Latents(Config):
    """latents.json."""

    half_letters: ClassVar[bool] = True

    inputs: str
    """Digest of what was described."""
    latents: Annotated[tuple[LatentPage, ...], AfterValidator(check_examples)]
    """Latents with their examples."""


class _Timings(Config):
    seconds: dict[str, Number]


class _Arm(Config):
    loss: Number | None
    terms: dict[str, float | None]
    l0: Number
    explained_variance: Number | None
    dead: Number | None
    nonfinite: int

    def is_defined(self) -> bool:
        return None not in (self.loss, self.explained_variance)


class _Logged(Config):
    step: int
    tokens: int
    learning_rate: float
    arms: dict[str, _Arm]


def read_measurements(folder: Path) -> Measurements | None:
    """What `assay evaluate` left; None before it. Raises CorruptData."""
    return _read(Measurements, folder / EVALUATION)


def read_document_sums(folder: Path) -> DocumentSums | None:
    """The sums by document that `assay evaluate` left; None before it. Raises CorruptData."""
    return _read(DocumentSums, folder / DOCUMENTS)


def read_latents(folder: Path) -> Latents | None:
    """Which latents `assay report` chose; None before it. Raises CorruptData."""
    return _read(Latents, folder / LATENTS)


def read_timings(folder: Path) -> dict[str, float]:
    """Seconds of each stage that was timed. Raises CorruptData."""
    path = folder / TIMINGS
    return _checked(_Timings, {"seconds": disk.read_sealed(path)}, path).seconds if path.exists() else {}


def read_curves(folder: Path) -> dict[str, Curve]:
    """The course of each arm that learns, at the steps where everything is defined. Raises CorruptData."""
    path = folder / TRAINING / LOG
    logged = [_checked(_Logged, line, path) for line in disk.read_lines(path)]
    logged = [line for line in logged if all(arm.is_defined() for arm in line.arms.values())]
    names = logged[-1].arms if logged else {}
    if any(line.arms.keys() != names.keys() for line in logged):
        raise _damaged(path, f"{path} holds lines of different arms", "the same in each")
    learning = [name for name in names if logged[-1].arms[name].dead is not None]
    return {name: _curve([(line, line.arms[name]) for line in logged]) for name in learning}


def _curve(course: list[tuple[_Logged, _Arm]]) -> Curve:
    return Curve(
        step=tuple(line.step for line, _ in course),
        tokens=tuple(line.tokens for line, _ in course),
        l0=tuple(arm.l0 for _, arm in course),
        explained_variance=tuple(arm.explained_variance or 0.0 for _, arm in course),
        dead_fraction=tuple(arm.dead or 0.0 for _, arm in course),
        loss=tuple(arm.loss or 0.0 for _, arm in course),
    )


def _read(kind: type[K], path: Path) -> K | None:
    return _checked(kind, disk.read_sealed(path), path) if path.exists() else None


def _checked(kind: type[K], data: Any, path: Path) -> K:
    try:
        return parse(kind, data, where=str(path))
    except ConfigError as error:
        raise _damaged(path, error.got, error.expected) from None


def _damaged(path: Path, got: str, expected: str) -> CorruptData:
    return CorruptData(got, expected=expected, do=f"Delete {path.name} and run the verb that writes it again.")
