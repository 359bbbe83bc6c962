"""Tokens as HTML that can neither run, nor reorder the page, nor hide: escaped, each isolated in <bdi>, invisible characters shown.

A token U+202E that is only escaped still reverses all text after it; so control, direction and zero-width characters are spelt out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby

from markupsafe import Markup, escape

HEAT_STEPS = 20
"""Shades between no activation and the largest; the style sheet has a class h1 ... h20 for each."""
LONGEST = 80
"""Characters of a token that are shown."""
MARKS = 4
"""Combining marks in a row that are drawn; later ones are spelt out, or a stack of them would cover other lines."""

EMPTY = Markup("<i>‹›</i>")
"""A token without text, such as a later byte of a character that the token before it has already shown."""
WHITESPACE = {"\n": "↵", "\t": "⇥"}
SPACED = re.compile(r" [^ ]")
"""A token that begins with one space, as most words do."""
BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Characters of visible categories that draw nothing."""


def visible(text: str, keep: str = "") -> str:
    """Text with every control, direction, zero-width, private and blank character spelt as U+XXXX, except those in `keep`."""
    return "".join(character if character in keep else _spelt(character) or character for character in text)


def token(text: str) -> Markup:
    """The inside of a token as HTML; spaces at its ends are shown as glyphs."""
    glyphs = Markup("").join(
        Markup("<i>{}</i>").format(piece) if is_glyph else escape(piece) for is_glyph, piece in _pieces(text[:LONGEST])
    )
    if len(text) > LONGEST:
        glyphs += Markup("<i>…{:,} more characters</i>").format(len(text) - LONGEST)
    return glyphs or EMPTY


def chip(text: str) -> Markup:
    """A token that stands alone, spaces shown."""
    return Markup("<bdi>{}</bdi>").format(token(text))


def context(tokens: Sequence[str], values: Sequence[float], maximum: float, peak: int) -> Markup:
    """Tokens in a row, each shaded by value / maximum, with its value to hover over; the one at `peak` is marked."""
    return Markup("").join(
        _shaded(text, value, maximum, place == peak)
        for place, (text, value) in enumerate(zip(tokens, values, strict=True))
    )


def direction(tokens: Sequence[str]) -> str:
    """rtl when most letters run from right to left; isolated tokens hide that from the browser."""
    kinds = [unicodedata.bidirectional(character) for text in tokens for character in text]
    right, left = sum(kind in ("R", "AL") for kind in kinds), kinds.count("L")
    return "rtl" if right > left else "ltr"


def _shaded(text: str, value: float, maximum: float, is_peak: bool) -> Markup:
    """One token; its single leading space stands before it, so that lines break there and shading hugs the word."""
    space, body = (" ", text[1:]) if SPACED.match(text) else ("", text)
    step = heat(value, maximum)
    classes = " ".join([f"h{step}"] * bool(step) + ["peak"] * is_peak)
    if not classes:
        return Markup("{}<bdi>{}</bdi>").format(space, token(body))
    return Markup('{}<bdi class="{}" title="{:.3g}">{}</bdi>').format(space, classes, value, token(body))


def heat(value: float, maximum: float) -> int:
    """The shade of a value: 0 for none, else 1 to HEAT_STEPS in proportion to value / maximum."""
    if value <= 0 or maximum <= 0:
        return 0
    return min(max(round(HEAT_STEPS * value / maximum), 1), HEAT_STEPS)


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """Runs of (is it a glyph that stands for something, what to print)."""
    for is_glyph, run in groupby(_characters(text), key=lambda pair: pair[0]):
        yield is_glyph, "".join(piece for _, piece in run)


def _characters(text: str) -> Iterator[tuple[bool, str]]:
    start = len(text) - len(text.lstrip(" "))
    end = len(text.rstrip(" "))
    marks = 0
    for place, character in enumerate(text):
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if character == " " and not start <= place < end:
            yield True, "␣"
        elif character in WHITESPACE:
            yield True, WHITESPACE[character]
        elif spelt := _spelt(character):
            yield True, spelt
        elif marks > MARKS:
            yield True, f"U+{ord(character):04X}"
        elif marks and place == 0:
            yield False, "◌" + character
        else:
            yield False, character


def _spelt(character: str) -> str:
    """How an invisible character is spelt; nothing for a visible one. Bytes that are no whole character are spelt as bytes."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"0x{code - 0xDC00:02X}"
    category = unicodedata.category(character)
    hidden = category[0] == "C" or category in ("Zl", "Zp") or (category == "Zs" and character != " ")
    return f"U+{code:04X}" if hidden or BLANK.match(character) else ""
