"""Texts whose class is known, for probes: reviews, newsgroups, sentences about jobs, and the first letters of words.

What is tested on shares no film, no sentence and no word with what is trained on. Texts are chosen by a hash of the text, as many of
each class as of any other, so a set is the same wherever it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import xxhash

from assay.errors import ConfigError, CorruptData, UnknownName, shown
from assay.materials import job_templates
from assay.materials.catalogue import named
from assay.materials.fetch import fetch
from assay.materials.texts import LINE_LIMIT, fingerprint, read_columns

TEST_SHARE = 0.25
GROUPS = ("comp.graphics", "rec.autos", "rec.sport.hockey", "sci.med", "sci.space", "soc.religion.christian")
"""Those of the 20 newsgroups that are about things far apart."""
HEADER_LINES = 3
"""Lines of a .tab file before the data: names, types and roles of its columns."""
SHORTEST_WORD = 3


@dataclass(frozen=True)
class Labelled:
    """Texts, and what is known of each."""

    name: str
    texts: tuple[str, ...]
    classes: Mapping[str, tuple[str, ...]]
    """The class of each text, by attribute."""
    is_test: tuple[bool, ...]
    """Whether a text is one to test on."""
    licence: str

    @property
    def identity(self) -> str:
        """The name and a fingerprint of texts, classes and split in one word."""
        said = [f"{test:d}{text}" for test, text in zip(self.is_test, self.texts, strict=True)]
        known = [f"{attribute} {' '.join(of)}" for attribute, of in sorted(self.classes.items())]
        return f"{self.name}-{fingerprint([*said, *known])}"

    def names(self, attribute: str) -> list[str]:
        """The classes of an attribute, sorted."""
        return sorted(set(self.classes[attribute]))

    def numbers(self, attribute: str) -> list[int]:
        """The class of each text as its place in `names`."""
        place = {name: number for number, name in enumerate(self.names(attribute))}
        return [place[name] for name in self.classes[attribute]]

    def balanced(self, train: int, test: int) -> Labelled:
        """About so many texts of each part, as many of each class (of each combination of classes, where there are several attributes).

        Raises ConfigError when a part has too few texts for one of each.
        """
        chosen: list[int] = []
        for part, wanted in ((False, train), (True, test)):
            groups: dict[tuple[str, ...], list[int]] = {}
            for index, kind in enumerate(zip(*(self.classes[name] for name in sorted(self.classes)), strict=True)):
                if self.is_test[index] == part:
                    groups.setdefault(kind, []).append(index)
            each = min(wanted // max(len(groups), 1), *(len(group) for group in groups.values()), wanted)
            if each < 1:
                raise ConfigError(
                    f"{wanted} texts of {len(groups)} kinds", expected="one or more of each kind", do="Ask for more."
                )
            for group in groups.values():
                chosen += sorted(group, key=lambda index: (_key(self.texts[index]), index))[:each]
        chosen.sort()
        classes = {name: tuple(of[index] for index in chosen) for name, of in self.classes.items()}
        texts, tests = tuple(self.texts[i] for i in chosen), tuple(self.is_test[i] for i in chosen)
        return Labelled(self.name, texts, classes, tests, self.licence)


def load_labelled(name: str) -> Labelled:
    """The set called `name`: "sentiment", "newsgroups" or "jobs". Raises UnknownName, MissingMaterial, CorruptData, OutOfDisk."""
    if name not in LABELLED:
        raise UnknownName(
            f"no labelled text is called {shown(name)}", expected=f"one of {', '.join(LABELLED)}", do="Choose one."
        )
    return LABELLED[name]()


def sentiment() -> Labelled:
    """Film reviews of one or two sentences, fresh or rotten; no film is in both parts."""
    folder, material = fetch("reviews"), named("reviews")
    table = folder / material.members[0].file_name
    rows = list(dict.fromkeys(read_columns(table, material.name, ("category", "text", "movie_name"))))
    kept = [(text, kind, _held_out(film)) for kind, text, film in rows if kind in ("fresh", "rotten") and text.strip()]
    return _of("sentiment", "sentiment", kept, material.licence)


def newsgroups() -> Labelled:
    """Messages of six newsgroups, lower-cased and without punctuation; the later ones are those to test on (the set's own split)."""
    folder, material = fetch("newsgroups"), named("newsgroups")
    kept = [
        (text, group, "test" in member.file_name)
        for member in material.members
        for group, text in read_tab(folder / member.file_name, material.name)
        if group in GROUPS and text.strip()
    ]
    return _of("newsgroups", "group", kept, material.licence)


def jobs() -> Labelled:
    """Sentences in which a job and a pronoun stand, all combinations of them equally often."""
    texts, job, pronoun, tests = zip(*job_templates.sentences(), strict=True)
    return Labelled("jobs", texts, {"job": job, "pronoun": pronoun}, tests, "CC0-1.0")


LABELLED: Mapping[str, Callable[[], Labelled]] = MappingProxyType(
    {"sentiment": sentiment, "newsgroups": newsgroups, "jobs": jobs}
)
"""The sets that need no model."""


def first_letters(tokenizer: Any, most: int = 120) -> Labelled:
    """Words of the vocabulary that are one token after a space, by first letter: the `most` with the lowest numbers of each.

    In a vocabulary of byte pairs the lowest numbers are the most frequent words, whose spelling a model knows best.
    """
    words = [
        (number, token[1:])
        for token, number in tokenizer.get_vocab().items()
        if token[:1] in ("Ġ", "▁", " ") and len(token) > SHORTEST_WORD and token[1:].isascii() and token[1:].isalpha()
    ]
    rows: list[tuple[str, str, bool]] = []
    count: dict[str, int] = {}
    for _, word in sorted(words):
        letter = word[0].lower()
        if word.islower() and count.get(letter, 0) < most:
            count[letter] = count.get(letter, 0) + 1
            rows.append((word, letter, _held_out(word)))
    return _of("first letters", "letter", rows, "none: single words")


def read_tab(path: Path, name: str) -> Iterator[tuple[str, str]]:
    """(class, text) of each line of a .tab file of the material `name`, but for its header and empty lines. Raises CorruptData."""
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(iter(lambda: file.readline(LINE_LIMIT), "")):
                if number < HEADER_LINES or line == "\n":
                    continue
                kind, tab, text = line.partition("\t")
                if not (tab and text.endswith("\n")):
                    raise ValueError(f"line {number + 1} has no tab, or no end")
                yield kind, text.rstrip("\n")
    except (OSError, ValueError) as error:
        raise CorruptData(
            f"{path} cannot be read as a table ({error})",
            expected="three lines of header, then lines of a class, a tab and a text, in UTF-8",
            do=f"`assay materials --refetch {name}` makes it anew.",
        ) from None


def _of(name: str, attribute: str, rows: Sequence[tuple[str, str, bool]], licence: str) -> Labelled:
    texts, classes, tests = zip(*rows, strict=True) if rows else ((), (), ())
    return Labelled(name, texts, {attribute: classes}, tests, licence)


def _held_out(what: str) -> bool:
    return _key(what) < TEST_SHARE * 2**64


def _key(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode())
