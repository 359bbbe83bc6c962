"""Settings: complete, frozen, strict, and helpful about mistakes."""

from __future__ import annotations

import datetime
import functools
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from assay.config import Config, differences, parse, parse_assignments, read_toml, set_at, value_at
from assay.dictionary import Weight
from assay.errors import ConfigError


class Inner(Config):
    rate: float = Field(default=0.5, ge=0)
    """A rate."""
    name: str = "inner"
    """A name."""


class Outer(Config):
    steps: int = Field(default=10, ge=1)
    """Steps."""
    inner: Inner = Inner(rate=0.25)
    """A table whose default is not its class's."""
    shape: tuple[int, ...] = (1, 2)
    """Sizes."""
    flag: bool = False
    """A switch."""


def complaint(data) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(Outer, data, where="run.toml")
    assert caught.value.got.startswith("run.toml: ")
    return caught.value


def test_nothing_given_gives_the_defaults():
    assert parse(Outer, {}, where="here") == Outer()
    assert Outer().resolved() == {
        "steps": 10,
        "inner": {"rate": 0.25, "name": "inner"},
        "shape": [1, 2],
        "flag": False,
    }


def test_a_partial_table_keeps_the_other_defaults_of_its_field():
    assert parse(Outer, {"inner": {"name": "x"}}, where="here").inner == Inner(rate=0.25, name="x")


def test_a_partial_table_keeps_defaults_at_any_depth():
    class Outermost(Config):
        outer: Outer = Outer(inner=Inner(rate=0.75, name="deep"))

    found = parse(Outermost, {"outer": {"inner": {"name": "x"}}}, where="here")
    assert found.outer.inner == Inner(rate=0.75, name="x")


def test_an_unknown_setting_suggests_the_nearest():
    error = complaint({"stpes": 3})
    assert "unknown setting 'stpes'" in error.got
    assert error.expected == "'steps' (did you mean that?)"


def test_an_unknown_nested_setting_suggests_from_its_table():
    error = complaint({"inner": {"rat": 1}})
    assert "unknown setting 'inner.rat'" in error.got
    assert "'rate'" in error.expected


def test_a_hopeless_setting_lists_what_is_known():
    assert complaint({"xyzzy": 1}).expected == "one of flag, inner, shape, steps"


def test_every_mistake_is_named_at_once():
    error = complaint({"steps": 0, "inner": {"rate": -1.0}})
    assert "steps = 0" in error.got
    assert "inner.rate = -1.0" in error.got
    assert "greater than or equal to 1" in error.expected


def test_a_missing_setting_is_named():
    class Needy(Config):
        path: str

    with pytest.raises(ConfigError, match="setting 'path' is missing"):
        parse(Needy, {}, where="here")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "much", [], {"value": 1}])
def test_numbers_are_finite_numbers(bad):
    complaint({"inner": {"rate": bad}})


@pytest.mark.parametrize("data", [{"steps": True}, {"steps": "7"}, {"flag": "yes"}, {"inner": {"rate": "0.5"}}])
def test_values_of_another_type_are_refused(data):
    complaint(data)


def test_tables_that_are_not_tables_are_refused():
    complaint({"inner": 3})
    complaint({"inner": None})


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Outer().steps = 3  # pyright: ignore


def test_equal_settings_have_equal_digests_and_others_do_not():
    assert Outer().digest() == parse(Outer, json.loads(json.dumps(Outer().resolved())), where="here").digest()
    assert Outer(steps=11).digest() != Outer().digest()
    assert Weight(value=1).digest() == Weight(value=1.0).digest()
    assert len(Outer().digest()) == 32


def test_revised_settings_are_checked_anew():
    assert Outer().revised({"inner.rate": 0.75, "steps": 3}) == Outer(steps=3, inner=Inner(rate=0.75))
    with pytest.raises(ConfigError, match="steps = 0"):
        Outer().revised({"steps": 0})
    with pytest.raises(ConfigError, match=r"unknown setting 'inner\.rat'"):
        Outer().revised({"inner.rat": 0.1})
    with pytest.raises(ConfigError, match="'steps' is not a table"):
        Outer().revised({"steps.value": 0.1})


def test_dotted_keys_reach_in():
    data: dict = {}
    set_at(data, "a.b.c", 1)
    set_at(data, "a.d", 2)
    assert data == {"a": {"b": {"c": 1}, "d": 2}}
    assert value_at(Outer(), "inner.rate") == 0.25


def test_toml_gives_tables(tmp_path):
    (tmp_path / "run.toml").write_text("steps = 7\n[inner]\nrate = 5e-5\n")
    assert parse(Outer, read_toml(tmp_path / "run.toml"), where="run.toml").inner.rate == 5e-5


@pytest.mark.parametrize("content", [b"steps = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_malformed_toml_is_a_config_error(tmp_path, content):
    (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.toml"):
        read_toml(tmp_path / "run.toml")


def test_missing_toml_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        read_toml(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError):
        read_toml(tmp_path)


def test_assignments_are_written_as_in_toml():
    given = [
        "steps=500",
        " inner.rate = 0.3",
        "name=gated",
        "text='a b'",
        "flag=true",
        "list=[1, 2]",
        "empty=",
        "site=x=y",
    ]
    assert parse_assignments(given) == {
        "steps": 500,
        "inner.rate": 0.3,
        "name": "gated",
        "text": "a b",
        "flag": True,
        "list": [1, 2],
        "empty": "",
        "site": "x=y",
    }


@pytest.mark.parametrize("bad", ["steps", "=5", " =5"])
def test_an_assignment_needs_a_key_and_an_equals_sign(bad):
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        parse_assignments([bad])


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_any_text_is_an_assignment_or_a_config_error(text):
    try:
        assert len(parse_assignments([text])) == 1
    except ConfigError:
        assert not text.partition("=")[0].strip() or "=" not in text


@given(
    st.dictionaries(
        st.sampled_from(["steps", "inner", "shape", "flag", "other"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=6,
        ),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_table_is_parsed_or_refused_with_a_config_error(data):
    try:
        found = parse(Outer, data, where="here")
    except ConfigError as error:
        assert error.got.startswith("here: ")  # noqa: PT017 - either outcome is right
    else:
        assert parse(Outer, found.resolved(), where="again") == found


def test_a_weight_rises_to_its_value():
    weight = Weight(value=2.0, warmup=0.25)
    assert [weight.at(progress) for progress in (0.0, 0.125, 0.25, 1.0)] == [0.0, 1.0, 2.0, 2.0]
    assert Weight(value=2.0).at(0.0) == 2.0


def test_differences_name_the_keys_and_both_values():
    before = {"a": 1, "b": {"c": 2, "d": 3}, "e": 4}
    assert differences(before, before) == ""
    assert differences(before, {"a": 1, "b": {"c": 5, "d": 3}}) == "b.c: 2 then, 5 now; e: 4 then, None now"
    assert differences({}, {"p": 1, "q": 2, "r": 3, "s": 4, "t": 5}).endswith("and 2 more")


# What no file can hold and give back.


class Loose(Config):
    table: dict[str, Any] = {}
    """Anything, as the tables of dictionaries are before their variant is known."""


ODD = {
    "NaN": (float("nan"), "a finite number"),
    "infinity": (float("-inf"), "a finite number"),
    "more than 64 bits": (2**63, "64 bits"),
    "more digits than Python writes": (1 << 40_000, "64 bits"),
    "a date": (datetime.date(2026, 11, 24), "text, a number"),
    "half a letter": ("\ud800", "UTF-8"),
    "a key that is no text": ({3: 1}, "a key that is text"),
    "a key of half a letter": ({"\ud800": 1}, "a key that is text"),
    "endless nesting": (functools.reduce(lambda inner, _: [inner], range(400), 0), "32 tables"),
}


@pytest.mark.parametrize("value", ODD, ids=ODD)
def test_what_no_file_can_hold_is_refused_wherever_it_stands(value):
    odd, expected = ODD[value]
    with pytest.raises(ConfigError, match=expected) as caught:
        parse(Loose, {"table": {"a": {"b": [1, odd]}}}, where="here")
    assert "table.a.b" in caught.value.got
    assert len(str(caught.value)) < 600


def test_a_message_stays_one_that_can_be_read():
    with pytest.raises(ConfigError) as caught:
        parse(Outer, {f"x{number}": "y" * 10_000 for number in range(500)}, where="here")
    assert len(str(caught.value)) < 4000
    assert "and 492 more" in caught.value.got


def test_a_key_that_cannot_be_printed_is_spelt_out():
    with pytest.raises(ConfigError) as caught:
        parse(Outer, {"\x1b[31m": 1}, where="here")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"steps = " + b"9" * 5000, "digits"),
        (b"steps = " + b"[" * 5000, "recursion"),
        (b"steps = " + b"{a = " * 5000, "recursion"),
        (b"a." * 20_000 + b"a = 1", "32 parts"),
        (b"[" + b'"a" . ' * 20_000 + b"a]", "32 parts"),
        (b"#" * (1 << 20) + b"\n", "1,048,576 bytes"),
    ],
)
def test_toml_that_tomllib_chokes_on_is_refused_at_once(tmp_path, content, said):
    (tmp_path / "run.toml").write_bytes(content)
    started = time.perf_counter()
    with pytest.raises(ConfigError, match=said):
        read_toml(tmp_path / "run.toml")
    assert time.perf_counter() - started < 2


def test_numbers_and_texts_with_many_dots_are_no_long_keys(tmp_path):
    (tmp_path / "run.toml").write_text(f"shape = [{'0.1, ' * 500}]\nname = '{'. ' * 500}{'...' * 200}'\n")
    assert len(read_toml(tmp_path / "run.toml")["shape"]) == 500


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 5000, "5\nother = 6", "5\n[other]"])
def test_an_assignment_that_is_no_one_value_is_text(text):
    assert parse_assignments([f"name={text}"]) == {"name": text}


def test_differences_of_long_values_are_short():
    assert len(differences({"a": "x" * 10**6}, {"a": 1})) < 300
