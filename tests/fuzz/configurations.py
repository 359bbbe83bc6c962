"""Any settings, however they come in, are either a run that survives being written and read, or a typed error that says what to do.

An example is a route and what goes down it: plain tables, a TOML file, a run.json, dotted assignments, the table of one variant, any
other settings class, or a command line. `check` raises what no user may see: another exception, a message with a part missing,
settings that differ after a round trip. It returns whether the settings were accepted.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from assay import disk
from assay.activations.manifest import Description, Line
from assay.cli import VERBS, main
from assay.config import Config, parse, parse_assignments, read_toml
from assay.dictionary import Dictionary, Weight
from assay.errors import AssayError
from assay.record import Record
from assay.reports import Report
from assay.run import Run, Workspace
from assay.run.kept import DocumentSums, Latents, Measurements
from assay.training import TrainConfig
from assay.training.trainer import Trainee
from tests.fuzz import schema, written
from tests.fuzz.limits import Hang, address_space, seconds

SECONDS = 2.0
ROOM = 2 << 30
"""Bytes that an example may take beside what the process has."""
SMALL = 1 << 10
"""Numbers in the atoms of a dictionary that is small enough to be built for an example."""
WIDTHS = (1, 16)
D_IN = 576
"""Width of the packaged model's activations."""
BUILT = 2
"""Dictionaries of a run that are built for an example."""
LONGEST_MESSAGE = 6000
QUICK = TrainConfig()
ROUTES = ("tables", "toml", "json", "assignments", "variant", "settings", "command")
OTHERS: tuple[type[Config], ...] = (
    TrainConfig,
    Weight,
    Record,
    Report,
    Description,
    Line,
    Measurements,
    DocumentSums,
    Latents,
)
"""Settings classes that are read from files, beside runs and variants."""
ARM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Example:
    """One route, and what goes down it."""

    route: str
    data: Any
    kind: str = ""
    """Variant, settings class or verb."""

    def __repr__(self) -> str:
        return f"Example({self.route!r}, {self.data!r}, {self.kind!r})"


class Refused(Exception):
    """A command line was answered with a message and an exit code."""


class TooSlow(AssertionError):
    """An example took more than `SECONDS`."""


@cache
def variants() -> dict[str, type[Dictionary.Config]]:
    """The settings of every variant by name; asked for once, since a registry under test checks its types by drawing at random."""
    return {name: Dictionary.registry.named(name).Config for name in Dictionary.registry.names()}


@st.composite
def examples(draw: DrawFn) -> Example:
    """An example of any route; about a third of them are whole and the others broken."""
    route = draw(st.sampled_from(ROUTES))
    if route == "command":
        arguments = draw(_commands())
        return Example(route, arguments, arguments[0])
    kind, whole = draw(_kinds(route))
    return Example(route, draw(whole | schema.broken(whole) | schema.broken(whole)), kind)


def _kinds(route: str) -> SearchStrategy[tuple[str, SearchStrategy[Any]]]:
    """What a route takes: a name, and whole tables of it."""
    if route == "variant":
        return st.sampled_from([(name, schema.tables(kind)) for name, kind in variants().items()])
    if route == "settings":
        return st.sampled_from([(kind.__name__, schema.tables(kind)) for kind in OTHERS])
    return st.just(("", _runs()))


@st.composite
def _runs(draw: DrawFn) -> dict[str, Any]:
    """Tables of runs whose dictionaries and sweep are of registered variants."""
    table = draw(schema.tables(Run))
    names = draw(st.lists(st.sampled_from(["a", "gated", "top-k_2", "x.1"]), unique=True, min_size=1, max_size=2))
    dictionaries, sweep = {}, {}
    for name in names:
        variant = draw(st.sampled_from(sorted(variants())))
        settings = draw(schema.tables(variants()[variant]))
        settings.pop("d_in", None)
        dictionaries[name] = {"variant": variant, **settings}
        if draw(st.booleans()):
            dials = st.floats(0, 100) | st.integers(1, 2**20) | st.sampled_from([0.1, 0.25, 2, 16, 0.10000001])
            sweep[name] = draw(st.lists(dials, max_size=3))
    return {**table, "dictionaries": dictionaries, "sweep": sweep}


@st.composite
def _commands(draw: DrawFn) -> list[Any]:
    """A command line, with a table in the place of its TOML file; nothing that fetches, trains or harvests."""
    texts = st.sampled_from([text for text in schema.ODD_TEXTS if "\0" not in text]) | st.text(max_size=6)
    arguments = texts.filter(lambda text: "\0" not in text and not text.startswith("/"))
    changes = st.lists(_changes(), max_size=2)
    verb = draw(st.sampled_from(["train", "sweep", "harvest", "report", "evaluate", "verify", "list", "other"]))
    if verb == "other":
        strange = draw(arguments.filter(lambda text: text not in VERBS))
        return [strange, *draw(st.lists(arguments, max_size=2))]
    if verb in ("verify", "list"):
        return [verb, *draw(st.lists(arguments.filter(lambda text: text != "sites"), max_size=2))]
    run = draw(_runs() | schema.broken(_runs()) | arguments.filter(lambda text: text != "demo"))
    dry = ["--dry-run"] if verb in ("train", "sweep", "harvest") else []
    flags = [part for change in draw(changes) for part in ("--set", change)]
    more = draw(st.sampled_from([[], [], [], ["--out", "out"], ["--json"], ["--set"], ["--nothing"]]))
    return [verb, run, *dry, *flags, *more]


@st.composite
def _changes(draw: DrawFn) -> str:
    """An assignment: mostly of a setting that exists."""
    keys = [
        "name",
        "train.steps",
        "batches.size",
        "dictionaries.a.width",
        "sweep.a",
        "seeds",
        "model.name",
        "source.texts",
    ]
    key = draw(st.sampled_from([*keys, "train", "train.", ".", "train.steps.x", "nothing", ""]) | st.text(max_size=5))
    raw = st.sampled_from(
        ["[" * 3000, "{a=" * 3000, "9" * 5000, "0x" + "f" * 5000, "1\nother=2", "1e400", "2026-11-24", "nan"]
    )
    try:
        text = written.value(draw(schema.ODD))
    except ValueError:
        text = draw(raw)
    return f"{key}={draw(st.just(text) | raw)}".replace("\0", "")


def check(example: Example, folder: Path) -> bool:
    """Send an example down its route, within the limits. Raises what no user may see."""
    try:
        with seconds(SECONDS), address_space(ROOM):
            CHECKS[example.route](example, folder)
    except AssayError as error:
        _is_helpful(error)
        return False
    except Refused:
        return False
    except Hang as hang:
        raise TooSlow(str(hang)) from hang
    return True


def warm(folder: Path) -> None:
    """Import, compile and derive what the first example would wait for."""
    for kind in (Run, *OTHERS, *variants().values()):
        schema.tables(kind)
    for kind in variants().values():
        _usable(kind().resized(d_in=4, width=8))
    widths = {name: kind().resized(d_in=D_IN, width=8).width for name, kind in variants().items()}
    table = {"dictionaries": {name: {"variant": name, "width": width} for name, width in widths.items()}}
    _holds(parse(Run, table, where="warm"), folder)
    with contextlib.suppress(Refused):
        _command(Example("command", ["sweep", {**table, "model": {"name": "no-such-model"}}, "--dry-run"]), folder)
    _command(Example("command", ["sweep", table, "--dry-run"]), folder)


def _is_helpful(error: AssayError) -> None:
    parts = {"got": error.got, "expected": error.expected, "do": error.do}
    missing = [name for name, text in parts.items() if not text.strip()]
    assert not missing, f"a message without {missing}: {error!r}"
    assert len(str(error)) <= LONGEST_MESSAGE, f"a message of {len(str(error)):,} letters"
    assert error.exit_code in range(1, 7)


def _tables(example: Example, folder: Path) -> None:
    _holds(parse(Run, example.data, where="tables"), folder)


def _toml(example: Example, folder: Path) -> None:
    path = folder / "run.toml"
    try:
        path.write_text(written.toml(example.data), encoding="utf-8")
    except (ValueError, AttributeError, RecursionError):  # nothing that TOML can say, or no table
        return _tables(example, folder)
    return _holds(parse(Run, read_toml(path), where=str(path)), folder)


def _json(example: Example, folder: Path) -> None:
    path = folder / "run.json"
    try:
        if isinstance(example.data, dict):
            disk.write_sealed(path, example.data)
        else:
            path.write_text(json.dumps(example.data), encoding="utf-8")
    except (TypeError, ValueError, RecursionError):
        return _tables(example, folder)
    return _holds(Workspace.open(folder).run, folder)


def _assignments(example: Example, folder: Path) -> None:
    base = Run(dictionaries={"a": {"variant": "gated"}})
    try:
        texts = list(written.assignments(example.data))
    except (ValueError, AttributeError, RecursionError):
        return _tables(example, folder)
    return _holds(base.revised(parse_assignments(texts)), folder)


def _variant(example: Example, folder: Path) -> None:
    _usable(_same_after_json(parse(variants()[example.kind], example.data, where="variant")))


def _settings(example: Example, folder: Path) -> None:
    (kind,) = (kind for kind in OTHERS if kind.__name__ == example.kind)
    _same_after_json(parse(kind, example.data, where="settings"))


def _command(example: Example, folder: Path) -> None:
    arguments = []
    for argument in example.data:
        if not isinstance(argument, str):
            path = folder / "command.toml"
            try:
                path.write_text(written.toml(argument), encoding="utf-8")
            except (ValueError, AttributeError, RecursionError):
                path.write_text("nothing = that = can be read")
            argument = str(path)
        arguments.append(argument)
    out, error = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = main(arguments)
    said = error.getvalue()
    assert code in (0, 1, 2, 3), f"exit code {code}: {said}"
    assert "Traceback" not in said
    assert code == 0 or said.strip() or out.getvalue().strip(), f"exit code {code} without a word"
    if code == 1:
        odd = sorted({letter for letter in said if not letter.isprintable() and letter != "\n"})
        assert not odd, f"control characters in a message: {odd!r}"
    if code:
        raise Refused(said)


CHECKS: dict[str, Callable[[Example, Path], None]] = {
    "tables": _tables,
    "toml": _toml,
    "json": _json,
    "assignments": _assignments,
    "variant": _variant,
    "settings": _settings,
    "command": _command,
}


def _holds(run: Run, folder: Path) -> None:
    """A run comes back from JSON and from TOML as it was, and what it describes can be made."""
    _same_after_json(run)
    if not _has_null(run.dictionaries):  # which TOML cannot say
        path = folder / "again.toml"
        path.write_text(written.toml(run.resolved()), encoding="utf-8")
        assert parse(Run, read_toml(path), where="again") == run, "TOML gives another run"
    for width in WIDTHS:
        for sweep in (False, True):
            _arms_hold(run, width, sweep=sweep)


def _has_null(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return value is None or any(map(_has_null, items))


def _arms_hold(run: Run, width: int, *, sweep: bool) -> None:
    try:
        arms = run.arms(width, sweep=sweep)
    except AssayError as error:
        return _is_helpful(error)
    counts = [len(run.sweep.get(name) or (0,)) * len(run.seeds) if sweep else 1 for name in run.dictionaries]
    assert len(arms) == sum(counts), f"{len(arms)} arms where {sum(counts)} were asked for"
    assert all(ARM.fullmatch(name) and len(name) < 150 for name in arms), f"names that no file can have: {list(arms)}"
    assert all(settings.d_in == width for settings in arms.values())
    for settings in list(arms.values())[:BUILT]:
        _usable(settings, run.train)
    return None


def _usable(settings: Any, training: TrainConfig = QUICK) -> None:
    """A small dictionary of these settings can be built, codes finite numbers, and takes a step of training."""
    assert settings.weights().keys() <= type(settings).model_fields.keys()
    assert math.isfinite(settings.dial_value())
    if settings.width * settings.d_in > SMALL:
        return
    trainee = Trainee(settings.build(), training)
    rows = torch.linspace(-1, 1, 2 * settings.columns).view(2, settings.columns)
    x, target = rows[:, : settings.d_in], rows[:, settings.columns - settings.d_out :]
    assert trainee.dictionary(x).shape == target.shape
    step, result, loss = trainee.loss(x, 0.5, target)
    assert result.terms.keys() == settings.weights().keys()
    trainee.learn(result, loss, training.schedule().at(0) * training.learning_rate)
    trainee.measure(step, result, loss.detach())


def _same_after_json(settings: Any) -> Any:
    text = json.dumps(settings.resolved(), allow_nan=False)
    data = json.loads(text)
    for computed in type(settings).model_computed_fields:
        data.pop(computed)
    again = parse(type(settings), data, where="again")
    assert again == settings, "JSON gives other settings"
    assert again.digest() == settings.digest(), "JSON gives another digest"
    return settings
