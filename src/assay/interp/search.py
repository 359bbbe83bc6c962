"""The rule that says best on which tokens of its windows a latent fires: greedy for F1, first one clause, then two.

F1 = 2 TP / (fired + P) over tokens, where P tokens have more than 0.3 of their window's largest value. A clause that is to be joined to
another is sought where it can matter: inside of what the other fires on for `and`, outside of it for `or`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from assay.interp.rules import KINDS, After, Clause, OfKind, OneOf, Phrase, Positions, Rule, Suffix
from assay.interp.windows import Window

MOST_TOKENS = 12
"""Tokens that a clause lists."""
LEAST_GAIN = 0.01
"""By how much another token must raise F1 to be listed."""
LEAST_GAIN_OF_TWO = 0.02
"""By how much a second clause must raise F1."""
STARTS = 6
"""Best single clauses to which a second one is sought."""
LIKELY = 4
"""Classes, endings, pairs and triples of tokens that are looked at more closely."""
NO_TOKEN = -1

REACHES = (0, 1, 3, 7, 15, 31)
"""Last positions of the beginnings of documents that a clause can name."""


@dataclass(frozen=True)
class Found:
    """A rule and its F1 on the tokens that it was sought on."""

    rule: Rule
    f1: float


def find_rule(windows: Sequence[Window]) -> Found | None:
    """The best rule on these windows, of several as good the first found; None where no token fires."""
    text = _Text.of(windows)
    if not text.fires.any():
        return None
    everywhere, nowhere = np.ones(len(text.fires), bool), np.zeros(len(text.fires), bool)
    singles = sorted(text.clauses(everywhere, nowhere), key=lambda found: -found[0])[:STARTS]
    best, one, _ = singles[0]
    rule, limit = Rule(((one,),)), best + LEAST_GAIN_OF_TWO
    for _, first, fires in singles:
        for f1, second, _ in text.clauses(fires, nowhere):
            if f1 > limit:
                rule, best, limit = Rule(((first, second),)), f1, f1
        for f1, second, _ in text.clauses(~fires, fires):
            if f1 > limit:
                rule, best, limit = Rule(((first,), (second,))), f1, f1
    return Found(rule, float(best))


Candidate = tuple[float, Clause, np.ndarray]
"""F1 together with what fires already, the clause, and where it fires."""


@dataclass(frozen=True, eq=False)
class _Text:
    """The tokens of all windows, numbered by their text in order of the alphabet."""

    vocabulary: list[str]
    token: Int[np.ndarray, " T"]
    before: Int[np.ndarray, " T"]
    """The token before; NO_TOKEN at the beginning of a window."""
    second: Int[np.ndarray, " T"]
    """The one before that."""
    position: Int[np.ndarray, " T"]
    fires: Bool[np.ndarray, " T"]

    @classmethod
    def of(cls, windows: Sequence[Window]) -> _Text:
        vocabulary = sorted({piece for window in windows for piece in window.pieces})
        number = {piece: index for index, piece in enumerate(vocabulary)}
        rows = [[number[piece] for piece in window.pieces] for window in windows]
        back = [[([NO_TOKEN] * places + row)[: len(row)] for row in rows] for places in range(3)]
        token, before, second = (np.array([one for row in part for one in row], dtype=np.int64) for part in back)
        position = np.concatenate([np.arange(len(window.pieces)) + window.start for window in windows])
        fires = np.array([one for window in windows for one in window.fires], dtype=bool)
        return cls(vocabulary, token, before, second, position, fires)

    def clauses(self, within: np.ndarray, already: np.ndarray) -> Iterator[Candidate]:
        """The best clauses of every kind, if the rule is to fire on `already`, and where the clause holds `within`."""
        hits, fired = int((already & self.fires).sum()), int(already.sum())

        def scored(holds: np.ndarray, clause: Clause) -> Candidate:
            here = holds & within
            return self._f1(hits + int((here & self.fires).sum()), fired + int(here.sum())), clause, holds

        if len(tokens := self._best_set(self.token, within, hits, fired)):
            yield scored(self._among(tokens)[self.token], OneOf(self._texts(tokens)))
        if len(earlier := self._best_set(self.before, within, hits, fired)):
            yield scored(self._among(earlier)[self.before], After(self._texts(earlier)))
        for kind, table in self._likely(*self._kinds, within, hits, fired):
            yield scored(table[self.token], OfKind(kind))
        for text, table in self._likely(*self._suffixes, within, hits, fired):
            yield scored(table[self.token], Suffix(text))
        for phrase, holds in self._likely_phrases(within, hits, fired):
            yield scored(holds, Phrase(self._texts(phrase)))
        for reach in REACHES:
            yield scored(self.position <= reach, Positions(0, reach))

    def _f1(self, hits: Any, fired: Any) -> Any:
        return 2 * hits / (fired + self._positive)

    @cached_property
    def _positive(self) -> int:
        return int(self.fires.sum())

    def _counts(self, numbers: np.ndarray, within: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """For each number, how often the latent fires at it within, and how often it is there."""
        known = within & (numbers != NO_TOKEN)
        hits = np.bincount(numbers[known & self.fires], minlength=size)
        return hits, np.bincount(numbers[known], minlength=size)

    def _best_set(self, numbers: np.ndarray, within: np.ndarray, hits: int, fired: int) -> list[int]:
        """Tokens added one by one, each the one that raises F1 the most; what fires once may be chance."""
        hit, there = self._counts(numbers, within, len(self.vocabulary))
        chosen: list[int] = []
        best = self._f1(hits, fired)
        while len(chosen) < MOST_TOKENS:
            f1 = np.where(hit > 1, self._f1(hits + hit, fired + there), -1.0)
            f1[chosen] = -1.0
            token = int(f1.argmax())
            if f1[token] < best + LEAST_GAIN:
                break
            chosen.append(token)
            best, hits, fired = f1[token], hits + int(hit[token]), fired + int(there[token])
        return chosen

    def _among(self, tokens: Sequence[int]) -> np.ndarray:
        """Which tokens of the vocabulary, and NO_TOKEN at its end, are these."""
        table = np.zeros(len(self.vocabulary) + 1, bool)
        table[list(tokens)] = True
        return table

    @cached_property
    def _kinds(self) -> tuple[list[str], np.ndarray]:
        """Classes, and which tokens are of them [S V]."""
        return list(KINDS), np.array([[holds(piece) for piece in self.vocabulary] for holds in KINDS.values()])

    @cached_property
    def _suffixes(self) -> tuple[list[str], np.ndarray]:
        """Endings of one to four letters that several of the tokens have, of which one fires, and which tokens have them [S V]."""
        firing = {self.vocabulary[token].strip() for token in np.unique(self.token[self.fires])}
        endings = {word[-length:] for word in firing for length in range(1, 5) if len(word) > length}
        having: dict[str, list[int]] = {ending: [] for ending in sorted(endings)}
        for token, piece in enumerate(self.vocabulary):
            word = piece.strip()
            for length in range(1, min(len(word), 5)):
                if word[-length:] in having:
                    having[word[-length:]].append(token)
        several = {ending: tokens for ending, tokens in having.items() if len(tokens) > 1}
        table = np.zeros((len(several), len(self.vocabulary)), bool)
        for row, tokens in enumerate(several.values()):
            table[row, tokens] = True
        return list(several), table

    def _likely(
        self, names: list[str], table: np.ndarray, within: np.ndarray, hits: int, fired: int
    ) -> Iterator[tuple[str, np.ndarray]]:
        """The sets of tokens [S V] that raise F1 the most."""
        counts = self._counts(self.token, within, len(self.vocabulary))
        hit, there = (table.astype(np.float32) @ part.astype(np.float32) for part in counts)
        for row in np.argsort(-self._f1(hits + hit, fired + there), kind="stable")[:LIKELY]:
            yield names[row], table[row]

    @cached_property
    def _phrases(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Pairs and triples that stand in the text [P 2], [P 3], and which of them ends at each token; NO_TOKEN where none does."""
        found = []
        for parts in ((self.before, self.token), (self.second, self.before, self.token)):
            there = np.flatnonzero(parts[0] != NO_TOKEN)
            phrases, places = np.unique(np.stack(parts, 1)[there], axis=0, return_inverse=True)
            ends = np.full(len(self.token), NO_TOKEN)
            ends[there] = places
            found.append((phrases, ends))
        return found

    def _likely_phrases(self, within: np.ndarray, hits: int, fired: int) -> Iterator[tuple[list[int], np.ndarray]]:
        """Pairs and triples of tokens at the end of which the latent fires more than once."""
        for phrases, ends in self._phrases:
            hit, there = self._counts(ends, within, len(phrases))
            likely = np.flatnonzero(hit > 1)
            f1 = self._f1(hits + hit[likely], fired + there[likely])
            for phrase in likely[np.argsort(-f1, kind="stable")[:LIKELY]]:
                yield phrases[phrase].tolist(), ends == phrase

    def _texts(self, tokens: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.vocabulary[token] for token in tokens)
