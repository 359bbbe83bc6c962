"""Explanations that are rules: English that says exactly on which tokens a latent fires, and that can be read back and run.

    fires on ' film', ' movie' after ' the'
    fires on numbers, or on ' percent'
    fires on tokens ending in 'ing' that are also beginnings of words

A rule is an `or` of sides, a side an `and` of clauses. A clause looks at the token, at the tokens before it, or at its position, never
at what follows, since a causal model has not seen that. Of a token before the window nothing is known, and no clause about it holds.
"""

from __future__ import annotations

import ast
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from assay.errors import ConfigError, shown

_CLOSED = {
    "articles and determiners": "a an the this that these those each every some any no another such",
    "pronouns": "i you he she it we they me him her us them who whom whose which what himself herself itself themselves",
    "possessives": "my your his her its our their mine yours hers ours theirs",
    "prepositions": "of in to for with on at by from into about as over under between through after before during without against",
    "conjunctions": "and or but nor so yet if because although though while when where since unless",
    "forms of be, have and do": "be am is are was were been being have has had having do does did doing done",
    "modal verbs": "can could may might must shall should will would",
}
"""English words that are few enough to be listed."""

KINDS: Mapping[str, Callable[[str], bool]] = {
    "numbers": lambda piece: piece.strip().isdigit(),
    "capitalised tokens": lambda piece: piece.strip()[:1].isupper(),
    "tokens in capitals": lambda piece: len(piece.strip()) > 1 and piece.strip().isupper(),
    "tokens in small letters": lambda piece: piece.strip().isalpha() and piece.strip().islower(),
    "punctuation": lambda piece: bool(piece.strip()) and not any(letter.isalnum() for letter in piece),
    "white space": lambda piece: bool(piece) and piece.isspace(),
    "line breaks": lambda piece: "\n" in piece,
    "beginnings of words": lambda piece: piece[:1].isspace() and piece.strip()[:1].isalpha(),
    "parts inside of words": lambda piece: piece[:1].isalpha(),
    "single letters": lambda piece: len(piece.strip()) == 1 and piece.strip().isalpha(),
    **{
        name: (lambda words: lambda piece: piece.strip().lower() in words)(set(text.split()))
        for name, text in _CLOSED.items()
    },
}
"""Classes of tokens that a clause can name."""


class Clause(ABC):
    """Something that holds of a token or does not."""

    noun: ClassVar[bool] = True
    """Whether its text names tokens; otherwise it says more about tokens that are named."""

    @abstractmethod
    def holds(self, pieces: Sequence[str], start: int) -> list[bool]:
        """Of which tokens of a window it holds, whose first token is at position `start` of its document."""


@dataclass(frozen=True)
class OneOf(Clause):
    """The token is one of these."""

    tokens: tuple[str, ...]

    def holds(self, pieces: Sequence[str], start: int) -> list[bool]:
        return [piece in self.tokens for piece in pieces]

    def __str__(self) -> str:
        return ", ".join(map(repr, self.tokens))


@dataclass(frozen=True)
class After(Clause):
    """The token before it is one of these."""

    noun: ClassVar[bool] = False
    tokens: tuple[str, ...]

    def holds(self, pieces: Sequence[str], start: int) -> list[bool]:
        return [False, *(piece in self.tokens for piece in pieces[:-1])]

    def __str__(self) -> str:
        return f"after {', '.join(map(repr, self.tokens))}"


@dataclass(frozen=True)
class Phrase(Clause):
    """The token is the last of these, and the others stand before it."""

    tokens: tuple[str, ...]

    def holds(self, pieces: Sequence[str], start: int) -> list[bool]:
        size = len(self.tokens)
        return [tuple(pieces[max(end - size, 0) : end]) == self.tokens for end in range(1, len(pieces) + 1)]

    def __str__(self) -> str:
        return f"the end of {' + '.join(map(repr, self.tokens))}"


@dataclass(frozen=True)
class OfKind(Clause):
    """The token is of a class in `KINDS`."""

    kind: str

    def holds(self, pieces: Sequence[str], start: int) -> list[bool]:
        return [KINDS[self.kind](piece) for piece in pieces]

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class Suffix(Clause):
    """The token ends so, and is longer."""

    text: str

    def holds(self, pieces: Sequence[str], start: int) -> list[bool]:
        words = map(str.strip, pieces)
        return [len(word) > len(self.text) and word.endswith(self.text) for word in words]

    def __str__(self) -> str:
        return f"tokens ending in {self.text!r}"


@dataclass(frozen=True)
class Positions(Clause):
    """The token is so far into its document."""

    noun: ClassVar[bool] = False
    low: int
    high: int

    def holds(self, pieces: Sequence[str], start: int) -> list[bool]:
        return [self.low <= start + at <= self.high for at in range(len(pieces))]

    def __str__(self) -> str:
        return f"at positions {self.low} to {self.high} of a document"


@dataclass(frozen=True)
class Rule:
    """Fires where all clauses of any side hold. `str(rule)` is English; `parse` reads it."""

    sides: tuple[tuple[Clause, ...], ...]

    def fires(self, pieces: Sequence[str], start: int) -> list[bool]:
        """Which tokens of a window it fires on."""
        sides = [map(all, zip(*(clause.holds(pieces, start) for clause in side), strict=True)) for side in self.sides]
        return [any(one) for one in zip(*sides, strict=True)]

    def __str__(self) -> str:
        return f"fires on {', or on '.join(map(_side, self.sides))}"


def _side(clauses: tuple[Clause, ...]) -> str:
    nouns = " that are also ".join(str(clause) for clause in clauses if clause.noun)
    return " ".join([nouns or "any token", *(str(clause) for clause in clauses if not clause.noun)])


_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_POSITIONS = re.compile(r" at positions (\d+) to (\d+) of a document")
_AFTER = re.compile(r" after (#\d+(?:, #\d+)*)")


def parse(explanation: str) -> Rule:
    """The rule that is written so. Raises ConfigError."""
    quoted: list[str] = []

    def number(found: re.Match[str]) -> str:
        quoted.append(ast.literal_eval(found[0]))
        return f"#{len(quoted) - 1}"

    try:
        text = _QUOTED.sub(number, explanation)
        opening, said = text[: len("fires on ")], text[len("fires on ") :]
        if opening != "fires on ":
            raise ValueError("it does not begin with 'fires on '")
        return Rule(tuple(_read_side(side, quoted) for side in said.split(", or on ")))
    except (ValueError, SyntaxError, IndexError) as error:
        raise ConfigError(
            f"{shown(explanation)} is no rule ({error})",
            expected="for example \"fires on ' film', ' movie' after ' the'\"",
            do="Ask another judge about explanations that are not rules.",
        ) from None


def _read_side(text: str, quoted: list[str]) -> tuple[Clause, ...]:
    more: list[tuple[int, Clause]] = [
        (found.start(), Positions(int(found[1]), int(found[2]))) for found in _POSITIONS.finditer(text)
    ]
    more += [(found.start(), After(_tokens(found[1], quoted, ", "))) for found in _AFTER.finditer(text)]
    nouns = _AFTER.sub("", _POSITIONS.sub("", text))
    named = [] if nouns == "any token" else [_noun(noun, quoted) for noun in nouns.split(" that are also ")]
    return (*named, *(clause for _, clause in sorted(more, key=lambda found: found[0])))


def _noun(text: str, quoted: list[str]) -> Clause:
    if text in KINDS:
        return OfKind(text)
    if text.startswith("tokens ending in "):
        (suffix,) = _tokens(text.removeprefix("tokens ending in "), quoted, ", ")
        return Suffix(suffix)
    if text.startswith("the end of "):
        return Phrase(_tokens(text.removeprefix("the end of "), quoted, " + "))
    return OneOf(_tokens(text, quoted, ", "))


def _tokens(text: str, quoted: list[str], between: str) -> tuple[str, ...]:
    if not re.fullmatch(rf"#\d+({re.escape(between)}#\d+)*", text):
        raise ValueError(f"{shown(text)} names no tokens")
    return tuple(quoted[int(number[1:])] for number in text.split(between))
