"""Documents as strings in a fixed order: a text of the catalogue, a .txt or .jsonl file, or a folder of .txt files.

Empty documents and exact repetitions are left out everywhere, so that documents held out are documents not seen.
"""

from __future__ import annotations

import bz2
import csv
import json
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from itertools import islice
from pathlib import Path

import xxhash

from assay.errors import ConfigError, CorruptData, MissingMaterial, UnknownName, shown
from assay.folders import expanded, is_file, is_folder
from assay.materials import catalogue
from assay.materials.catalogue import named, nearest, of_kind
from assay.materials.fetch import fetch

FORMS = "a .txt file (one document), a .jsonl file (one a line), or a folder of .txt files (one a file)"
LINE_LIMIT, UNPACKED_RATIO = 1 << 20, 32
"""Most letters of a line of a packed table, and of all lines for each packed byte; texts have about four."""


def load_texts(source: str | Path, *, field: str = "text") -> list[str]:
    """The documents of `source`: a name of the catalogue ("reviews") or a path; the name wins, "./reviews" is the path.

    Order: as in the file; files of a folder by name. `field` is the key of the text in a .jsonl line. Raises
    UnknownName, MissingMaterial (nothing there, or no text in it), CorruptData (not UTF-8 or not JSON, with the line),
    ConfigError (another kind of file, a line without the field).
    """
    path = expanded(source)
    if isinstance(source, str) and source in catalogue.CATALOGUE:
        documents = _packaged(source)
    elif is_folder(path):
        documents = (_whole_file(file) for file in sorted(path.glob("*.txt")))
    elif is_file(path):
        documents = _from_file(path, field)
    else:
        raise _not_found(str(source))
    distinct = list(dict.fromkeys(document for document in documents if document.strip()))
    if not distinct:
        raise MissingMaterial(f"{source} holds no text", expected=FORMS, do="Check the path and the field.")
    return distinct


def fingerprint(documents: Sequence[str]) -> str:
    """xxh3-128 (hex) of the documents in order, each preceded by its length: moving a boundary changes it."""
    digest = xxhash.xxh3_128()
    for document in documents:
        data = document.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def _packaged(name: str) -> Iterator[str]:
    """The column "text" of every CSV table of a material."""
    material = named(name, "text")
    folder = fetch(name)
    for member in material.members:
        yield from read_table(folder / member.file_name, name)


def load_by_label(name: str, label: str) -> dict[str, list[str]]:
    """The documents of a material by what its tables say in the column `label`; a text with two labels is left out.

    Raises UnknownName, MissingMaterial, CorruptData.
    """
    folder, labels = fetch(name), dict[str, set[str]]()
    for member in named(name, "text").members:
        for text, value in read_columns(folder / member.file_name, name, ("text", label)):
            if text.strip():
                labels.setdefault(text, set()).add(value)
    found: dict[str, list[str]] = {}
    for text, values in labels.items():
        if len(values) == 1:
            found.setdefault(values.pop(), []).append(text)
    return found


def read_table(path: Path, name: str) -> Iterator[str]:
    """The column "text" of a packed table of the material `name`. Raises CorruptData."""
    return (text for (text,) in read_columns(path, name, ("text",)))


def read_columns(path: Path, name: str, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Some columns of a packed table of the material `name`, row by row; rows that are too short are left out. Raises CorruptData."""
    try:
        most = LINE_LIMIT + UNPACKED_RATIO * path.stat().st_size
        with bz2.open(path, "rt", encoding="utf-8", newline="") as packed:
            rows = csv.reader(_bounded(packed, most), strict=True)
            header = next(rows, [])
            places = [header.index(column) for column in columns]
            yield from (tuple(row[place] for place in places) for row in rows if len(row) > max(places))
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise CorruptData(
            f"{path} cannot be read as a table ({error!r})",
            expected=f"CSV in UTF-8, packed with bzip2, with {'a column' if len(columns) == 1 else 'columns'} "
            + ", ".join(f'"{column}"' for column in columns),
            do=f"`assay materials --refetch {name}` makes it anew.",
        ) from None


def _bounded(packed: TextIOWrapper, most: int) -> Iterator[str]:
    """Lines, until they are longer than a table of texts would be: a few bytes can be packed that unpack without end."""
    while line := packed.readline(LINE_LIMIT):
        most -= len(line)
        if most < 0 or len(line) == LINE_LIMIT:
            raise ValueError(
                f"it unpacks to more than {UNPACKED_RATIO} times its size, or a line of {LINE_LIMIT:,} letters"
            )
        yield line


def _from_file(path: Path, field: str) -> Iterator[str]:
    if path.suffix == ".txt":
        return iter([_whole_file(path)])
    if path.suffix == ".jsonl":
        return _json_lines(path, field)
    raise ConfigError(f"{path} is neither .txt nor .jsonl", expected=FORMS, do="Write it in one of these forms.")


def _whole_file(path: Path) -> str:
    """Decoded at once: a string a line would take fifty times the memory of short lines."""
    data = _regular(path).read_bytes()
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, data.count(b"\n", 0, error.start) + 1, error) from None


def _regular(path: Path) -> Path:
    """The path of a regular file. Raises ConfigError."""
    if not is_file(path):
        raise ConfigError(f"{path} is no regular file", expected=FORMS, do="Take it out, or put the text there.")
    return path


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines numbered from 1, ends made "\\n", no byte-order mark; decoded one by one, so a bad one has its number."""
    with open(_regular(path), "rb") as file:
        for number, data in enumerate(file, 1):
            try:
                line = data.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise _not_utf8(path, number, error) from None
            yield number, line.replace("\r\n", "\n")


def _not_utf8(path: Path, number: int, error: UnicodeDecodeError) -> CorruptData:
    return CorruptData(
        f"line {number} of {path} is not UTF-8 ({error.reason})",
        expected="text in UTF-8",
        do="Convert the file, for instance with `iconv -t UTF-8`.",
    )


def _json_lines(path: Path, field: str) -> Iterator[str]:
    for number, line in _lines(path):
        if line.strip():
            yield _text_of(line, f"line {number} of {path}", field)


def _text_of(line: str, where: str, field: str) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"{where} is not JSON ({error})", expected="one JSON object a line", do="Mend it.") from None
    if not isinstance(record, dict) or not isinstance(record.get(field), str):
        found = (
            f"the keys {', '.join(map(shown, islice(record, 8)))}"
            if isinstance(record, dict)
            else type(record).__name__
        )
        raise ConfigError(
            f"{where} has {found}",
            expected=f"an object with a string in {field!r}",
            do="Name another field, or mend the line.",
        )
    text = record[field]
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise CorruptData(
            f"{where} holds half of a surrogate pair", expected="text that UTF-8 can hold", do="Mend or drop that line."
        )
    return text


def _not_found(source: str) -> UnknownName | MissingMaterial:
    names = ", ".join(material.name for material in of_kind("text"))
    expected = f"{names}, {FORMS}"
    if near := nearest(source):
        return UnknownName(f"no text is called {shown(source)}", expected=expected, do=f"Did you mean {near!r}?")
    return MissingMaterial(f"there is no text at {shown(source)}", expected=expected, do="Check the path.")
