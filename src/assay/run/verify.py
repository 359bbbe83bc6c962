"""Is everything as it was written? And making anew whatever is not: damaged things are removed, and the stages that made them run again.

Every stage gives the same bytes from the same settings, so what is made anew is what was lost. Only what is damaged is made again: single
shards, the training from its last whole checkpoint, a dictionary from the last checkpoint.
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assay import disk
from assay.activations.manifest import MANIFEST as LINES
from assay.activations.manifest import STORE
from assay.activations.store import verify_store
from assay.errors import AssayError, CorruptData, MissingMaterial
from assay.folders import is_folder
from assay.reports.files import DATA, PAGE, check_report
from assay.run import stages
from assay.run.kept import DOCUMENTS, EVALUATION, LATENTS, TIMINGS, TRAINING
from assay.run.stages import ACTIVATIONS, DICTIONARIES, SETTINGS, Workspace
from assay.training import checkpoint
from assay.training.keeper import LOG

SEALED = (SETTINGS, TIMINGS, EVALUATION, DOCUMENTS, LATENTS)


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written."""

    what: str
    remove: tuple[Path, ...] = ()
    """What must go for it to be made anew; nothing where single shards are made again, or where nothing helps."""


@dataclass(frozen=True)
class Verdict:
    """What was looked at, and what is wrong with it."""

    checked: int
    findings: list[Finding]


def verify(folder: Path) -> Verdict:
    """Read everything that assay wrote below `folder` and compare it with what was written. Raises MissingMaterial if there is nothing."""
    if not is_folder(folder):
        raise MissingMaterial(f"there is no folder {folder}", expected="one that assay wrote", do="Check the path.")
    stores = sorted({path.parent for name in (STORE, LINES) for path in folder.rglob(name)})
    published = sorted(
        {path.parent for path in folder.rglob(disk.MANIFEST)}
        | {path for path in folder.rglob(f"{DICTIONARIES}/*") if path.is_dir()}
        | {path for path in folder.rglob(f"{TRAINING}/step-*") if path.is_dir() and path.name[5:].isdigit()}
    )
    trainings = sorted(
        path for path in {folder, *folder.rglob(TRAINING)} if (path / LOG).exists() or _checkpoints(path)
    )
    records = sorted(path for name in SEALED for path in folder.rglob(name))
    reports = sorted({path.parent for name in (DATA, PAGE) for path in folder.rglob(name)})
    checked = sum(map(len, (stores, published, trainings, records, reports)))
    if not checked:
        raise MissingMaterial(
            f"nothing in {folder} was written by assay", expected="a run, a store or a dictionary", do="Check the path."
        )
    findings = [*_leftovers(folder)]
    left = {path for finding in findings for path in finding.remove}
    findings += [Finding(problem) for store in stores for problem in verify_store(store)]
    for place in published:
        if place not in left:
            findings += [Finding(problem, (place,)) for problem in disk.check_manifest(place)]
    findings += [finding for training in trainings for finding in _check_log(training)]
    findings += [finding for path in records for finding in _check_seal(path)]
    for place in reports:
        findings += [Finding(problem, (place / DATA, place / PAGE)) for problem in check_report(place)]
    return Verdict(checked, findings)


def repair(folder: Path, progress: stages.Counter | None = None) -> None:
    """Make anew what `verify` finds wrong in a run, or in the run that `folder` is part of. Raises MissingMaterial, CorruptData."""
    home = next((path for path in (folder, *folder.absolute().parents) if (path / SETTINGS).exists()), None)
    if home is None:
        raise MissingMaterial(
            f"{folder} is not part of a run, so nobody knows how it was made",
            expected=f"a folder below one with {SETTINGS}",
            do="Run harvest(..., repair=True) with the model and the source, or train the dictionary again.",
        )
    workspace = _workspace(home)
    findings = verify(home).findings
    sweep, steps = _was_swept(workspace), workspace.run.train.steps
    trained = (home / DICTIONARIES).is_dir() or (home / TRAINING / f"step-{steps:08d}").is_dir()
    made = {name: (home / name).exists() for name in (ACTIVATIONS, EVALUATION, LATENTS, DATA, PAGE)}
    command, page = _command(home), _bytes(home / PAGE)
    with workspace.writing():
        for path in {path for finding in findings for path in finding.remove}:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if made[ACTIVATIONS] and any(verify_store(store) for store in (home / ACTIVATIONS).iterdir()):
        stages.run_harvest(workspace, progress, repair=True)
    if trained:
        for _ in stages.run_train(workspace, sweep=sweep):
            pass
    if made[EVALUATION]:
        stages.run_evaluate(workspace)
    if made[LATENTS]:
        stages.run_examples(workspace)
    if made[DATA] or made[PAGE]:
        stages.run_report(workspace, command or _named_by(page) or f"assay report {home}")
        if not command and _bytes(home / PAGE) != page:  # the page was damaged too: it vouches for no command
            stages.run_report(workspace, f"assay report {home}")


def _workspace(home: Path) -> Workspace:
    try:
        return Workspace.open(home)
    except CorruptData as error:
        raise CorruptData(
            error.got,
            expected="the settings of the run",
            do="Run the verb that made the run again, with its TOML file or recipe: that writes them.",
        ) from None


def _was_swept(workspace: Workspace) -> bool:
    """Whether the dictionaries of the run were trained by `sweep`."""
    folder = workspace.folder
    there = {path.name for path in (folder / DICTIONARIES).glob("*")}
    for path in _checkpoints(folder / TRAINING):
        there |= {file.stem for file in path.glob("*.safetensors")}
    listed = set(workspace.run.dictionaries)
    return not (there & listed) and bool(there or workspace.run.sweep)


def _command(home: Path) -> str | None:
    """What the report says that it was made with, if its data are whole."""
    with suppress(AssayError):
        return str(disk.read_sealed(home / DATA)["command"])
    return None


def _named_by(page: bytes) -> str | None:
    """The command that a report's page shows."""
    found = re.search(r"<pre><code>(assay [^<]*)</code></pre>", page.decode(errors="replace"))
    return html.unescape(found[1]) if found else None


def _bytes(path: Path) -> bytes:
    """What a file holds; nothing where there is none."""
    with suppress(AssayError):
        return disk.read(path)
    return b""


def _leftovers(folder: Path) -> Iterator[Finding]:
    for what in ("part", "old"):
        for path in sorted(folder.rglob(f"*.{what}*")):
            if re.fullmatch(rf".+\.{what}\d+", path.name):
                yield Finding(f"{path} was left by a writer that was killed", (path,))


def _check_seal(path: Path) -> Iterator[Finding]:
    try:
        disk.read_sealed(path)
    except AssayError as error:
        yield Finding(error.got, (path,) if path.name != SETTINGS else ())


def _check_log(training: Path) -> Iterator[Finding]:
    """The log against the newest checkpoint that is whole."""
    whole = [path for path in _checkpoints(training) if not disk.check_manifest(path)]
    if whole and (problem := checkpoint.check_log(checkpoint.read_state(whole[-1]), training / LOG)):
        yield Finding(problem, (training,))


def _checkpoints(training: Path) -> list[Path]:
    return checkpoint.all_of(training) if training.is_dir() else []
