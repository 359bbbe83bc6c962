"""Hostile tokens neither run, nor reorder the page, nor vanish."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.reports.tokens import HEAT_STEPS, chip, context, direction, heat, token, visible


class Reader(HTMLParser):
    """Collects elements, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.depth, self.lowest = "", 0, 0
        self.feed(str(html))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.depth += 1

    def handle_endtag(self, tag: str) -> None:
        self.depth -= 1
        self.lowest = min(self.lowest, self.depth)

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = [
    "<script>alert(1)</script>",
    "</bdi></p></style><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    "<!--",
    "]]>",
    "&lt;b&gt;",
    "{{ 7 * 7 }}{% raw %}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_in_a_token_stays_text(text: str) -> None:
    page = Reader(context(["a", text], [0.0, 2.0], 2.0, 1))
    assert page.text == f"a{text}"
    assert [name for name, _ in page.elements] == ["bdi", "bdi"]
    assert page.elements[1][1] == {"class": f"h{HEAT_STEPS} peak", "title": "2"}


@given(st.lists(st.text(st.characters(), max_size=12), min_size=1, max_size=6))
def test_any_tokens_make_balanced_elements_of_two_kinds_without_a_direction_mark(tokens: list[str]) -> None:
    page = Reader(context(tokens, [1.0] * len(tokens), 1.0, 0))
    assert {name for name, _ in page.elements} <= {"bdi", "i"}
    assert sum(name == "bdi" for name, _ in page.elements) == len(tokens)
    assert page.depth == page.lowest == 0
    assert all(unicodedata.category(character)[0] != "C" for character in page.text)


@given(st.text(min_size=1, max_size=60))
def test_no_token_vanishes(text: str) -> None:
    assert Reader(chip(text)).text.strip(" ")


def test_direction_marks_are_spelt_out_and_every_token_is_isolated() -> None:
    page = Reader(context(["a", "\u202eevil", "b"], [0.0, 0.0, 0.0], 1.0, 0))
    assert page.text == "aU+202Eevilb"
    assert [name for name, _ in page.elements] == ["bdi", "bdi", "i", "bdi"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\n", "↵"),
        ("\t\n\n", "⇥↵↵"),
        ("\r", "U+000D"),
        ("  ", "␣␣"),
        (" the", "␣the"),
        ("the ", "the␣"),
        ("in it", "in it"),
        ("\u00a0", "U+00A0"),
        ("\u200b", "U+200B"),
        ("\u2800", "U+2800"),
        ("\ufe0f", "U+FE0F"),
        ("\x00", "U+0000"),
        ("\x1b[2J", "U+001B[2J"),
        ("\udce2\udc82", "0xE20x82"),
        ("\ufffd", "\ufffd"),
        ("\u0301", "◌\u0301"),
        ("", "‹›"),
        ("é", "é"),
        ("日本", "日本"),
    ],
)
def test_what_cannot_be_seen_is_shown(text: str, shown: str) -> None:
    assert Reader(token(text)).text == shown


def test_a_word_in_a_context_keeps_its_space_before_the_shading() -> None:
    assert context([" the", "  x"], [1.0, 0.0], 1.0, 1) == (
        ' <bdi class="h20" title="1">the</bdi><bdi class="peak" title="0"><i>␣␣</i>x</bdi>'
    )


def test_a_huge_token_is_cut_and_says_by_how_much() -> None:
    shown = Reader(token("x" * 5000)).text
    assert shown == "x" * 80 + "…4,920 more characters"


def test_a_stack_of_combining_marks_does_not_climb_over_other_lines() -> None:
    shown = Reader(token("a" + "\u0301" * 60)).text
    assert shown.count("\u0301") == 4
    assert shown.count("U+0301") == 56


def test_heat_is_proportional_and_any_activation_shows() -> None:
    assert [heat(value, 10.0) for value in (-1.0, 0.0, 0.001, 5.0, 10.0, 12.0)] == [0, 0, 1, 10, 20, 20]
    assert heat(1.0, 0.0) == 0


def test_letters_that_run_from_right_to_left_turn_the_row() -> None:
    assert direction(["שלום", " עולם", " ok"]) == "rtl"
    assert direction(["hello", " שלום", " 123"]) == direction(["1"]) == "ltr"


def test_plain_text_keeps_what_it_is_told_to() -> None:
    assert visible("a\nb\u202e", keep="\n") == "a\nbU+202E"
