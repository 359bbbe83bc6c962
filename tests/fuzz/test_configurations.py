"""Two thousand made-up settings, the same ones every time: parsed and used, or refused in words. The drill runs 100,000."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from assay.config import parse
from assay.errors import AssayError, ConfigError
from assay.run import Run
from tests.fuzz import configurations, schema, written
from tests.fuzz.configurations import Example, TooSlow, check

EXAMPLES = 2000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


def test_any_settings_are_a_run_or_a_helpful_error(folder: Path, no_network: None, nothing_measured: None) -> None:
    seen: Counter[tuple[str, bool]] = Counter()
    configurations.warm(folder)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(configurations.examples())
    def every(example: Example) -> None:
        seen[example.route, check(example, folder)] += 1

    every()
    assert seen.total() >= EXAMPLES
    for route in configurations.ROUTES:
        assert seen[route, True] >= 5, f"{route}: hardly anything was accepted: {seen}"
        assert seen[route, False] >= 10, f"{route}: hardly anything was refused: {seen}"


def test_an_example_that_hangs_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forever(example: Example, folder: Path) -> None:
        while True:
            pass

    monkeypatch.setitem(configurations.CHECKS, "tables", forever)
    monkeypatch.setattr(configurations, "SECONDS", 0.05)
    with pytest.raises(TooSlow):
        check(Example("tables", {}), folder)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), ConfigError("", expected="a", do="b"), ConfigError("a" * 9999, expected="a", do="b")]
)
def test_an_example_that_ends_in_anything_but_a_helpful_error_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(example: Example, folder: Path) -> None:
        raise error

    monkeypatch.setitem(configurations.CHECKS, "tables", fail)
    with pytest.raises((ZeroDivisionError, AssertionError)):
        check(Example("tables", {}), folder)


def test_an_example_that_takes_all_memory_fails_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configurations.CHECKS, "tables", lambda example, folder: bytearray(2 * configurations.ROOM))
    with pytest.raises(MemoryError):
        check(Example("tables", {}), folder)


def test_settings_that_change_on_the_way_fail(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = Run.resolved
    monkeypatch.setattr(Run, "resolved", lambda run: {**resolved(run), "title": "another"})
    with pytest.raises(AssertionError, match="JSON gives other settings"):
        check(Example("tables", {"dictionaries": {"a": {"variant": "gated", "width": 4}}}), folder)


def test_every_settings_class_has_a_strategy() -> None:
    for kind in (Run, *configurations.OTHERS):
        assert isinstance(schema.tables(kind), SearchStrategy)
    with pytest.raises(KeyError):
        schema.of_schema({"type": "array", "prefixItems": []}, {})


def test_toml_of_our_own_is_read_back(folder: Path) -> None:
    table = {"a": {"b c": [1, -2.5, "\x7f\n\"'", True], "d": {}}, "e": 2**70}
    assert configurations.read_toml(_put(folder, written.toml(table))) == table


def _put(folder: Path, text: str) -> Path:
    (folder / "own.toml").write_text(text, encoding="utf-8")
    return folder / "own.toml"


def test_an_example_that_is_refused_says_false_and_one_that_holds_says_true(folder: Path) -> None:
    table = {"dictionaries": {"a": {"variant": "gated", "width": 4}}}
    assert check(Example("tables", table), folder)
    assert not check(Example("tables", {}), folder)
    with pytest.raises(AssayError):
        parse(Run, {}, where="here")
