"""Documents: which files give which strings, in which order, and what is said of a bad line."""

from __future__ import annotations

import bz2

import pytest

from assay.errors import ConfigError, CorruptData, MissingMaterial, UnknownName
from assay.materials import fingerprint, load_texts

TABLE = 'category,text,movie_name\nfresh,"Good, ""very"" good.\n\nTwice.",a\nplot,  ,b\nrotten,Schlöck.,c\nfresh,Schlöck.,d\n'


@pytest.fixture
def put_table(shelf, tmp_path, make_wheel, material_of):
    def put(table: bytes) -> None:
        files = {"tiny/data/table.csv.bz2": table}
        shelf.pip.wheel = make_wheel(tmp_path / "table.whl", files)
        shelf.put(material_of(shelf.pip.wheel, files))

    return put


def test_a_packaged_table_gives_its_texts_without_empties_and_repetitions(put_table, monkeypatch):
    put_table(bz2.compress(TABLE.encode()))
    assert load_texts("tiny") == ['Good, "very" good.\n\nTwice.', "Schlöck."]


@pytest.mark.parametrize(
    "table",
    [b"not bzip2", bz2.compress(b'text\n"open'), bz2.compress(b"text\n\xff\n"), bz2.compress(b"other\nx\n")],
    ids=["not packed", "open quote", "not UTF-8", "no such column"],
)
def test_a_packaged_table_that_cannot_be_read_is_corrupt(put_table, table):
    put_table(table)
    with pytest.raises(CorruptData, match="--refetch tiny"):
        load_texts("tiny")


def test_a_txt_file_is_one_document(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\n\r\ntwo é\n".encode())
    assert load_texts(path) == ["one\n\ntwo é\n"]


def test_a_folder_gives_one_document_a_file_in_order_of_name(tmp_path):
    for name, text in [("b.txt", "second"), ("a.txt", "first"), ("c.txt", " \n"), ("d.txt", "first"), ("e.md", "no")]:
        (tmp_path / name).write_text(text)
    assert load_texts(str(tmp_path)) == ["first", "second"]


def test_json_lines_give_the_named_field(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x", "body": "one\\n"}\n\n{"body": "two"}\n{"body": "one\\n"}')
    assert load_texts(path, field="body") == ["one\n", "two"]
    with pytest.raises(
        ConfigError, match=r"line 3 of .* has the keys 'body'; expected an object with a string in 'text'"
    ):
        load_texts(path)


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        (b'{"text": ', CorruptData, "is not JSON"),
        (b"[" * 100_000, CorruptData, "is not JSON"),
        (b'{"text": "\\ud800"}', CorruptData, "surrogate"),
        (b'{"text": "\xff"}', CorruptData, "not UTF-8"),
        (b'["text"]', ConfigError, "has list"),
        (b'{"text": 3}', ConfigError, "string in 'text'"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, line, error, message):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "fine"}\n' * 2000 + line + b"\n")
    with pytest.raises(error, match=message) as caught:
        load_texts(path)
    assert caught.value.got.startswith(f"line 2001 of {path}")


def test_other_kinds_of_file_are_refused(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_text("x")
    with pytest.raises(ConfigError, match=r"neither .txt nor .jsonl"):
        load_texts(path)


def test_a_source_without_text_is_an_error(tmp_path):
    with pytest.raises(MissingMaterial, match="holds no text"):
        load_texts(tmp_path)
    (tmp_path / "a.txt").write_text("\n \n")
    with pytest.raises(MissingMaterial, match="holds no text"):
        load_texts(tmp_path / "a.txt")


def test_a_wrong_name_or_path_is_answered_with_what_there_is(tmp_path):
    with pytest.raises(UnknownName, match=r"Did you mean 'reviews'\?"):
        load_texts("reveiws")
    with pytest.raises(MissingMaterial, match="there is no text at"):
        load_texts(tmp_path / "absent.txt")
    with pytest.raises(ConfigError, match="'smollm2' is a model; expected a text"):
        load_texts("smollm2")


def test_a_folder_with_a_catalogue_name_is_reached_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "reviews").mkdir()
    (tmp_path / "reviews" / "a.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert load_texts("./reviews") == ["mine"]


def test_the_fingerprint_sees_every_letter_boundary_and_order():
    whole = fingerprint(["ab", "c"])
    assert len(whole) == 32
    assert whole == fingerprint(("ab", "c"))
    others = [["a", "bc"], ["abc"], ["c", "ab"], ["ab", "d"], ["ab", "c", ""], []]
    assert len({whole, *map(fingerprint, others)}) == 7


BOMBS = {
    "short lines": b"text\n" + b"x\n" * 5_000_000,
    "one line": b"text\n" + b"x" * 3_000_000,
    "one quoted field": b'text\n"' + b"x\n" * 5_000_000,
}


@pytest.mark.parametrize("table", BOMBS.values(), ids=BOMBS)
def test_a_packed_table_that_unpacks_without_end_is_refused(put_table, table):
    put_table(bz2.compress(table))
    with pytest.raises(CorruptData, match=r"unpacks to more than|field larger"):
        load_texts("tiny")


def test_a_packed_table_may_say_one_thing_often(put_table):
    put_table(bz2.compress(b"text\n" + b"the same\n" * 100_000))
    assert load_texts("tiny") == ["the same"]


def test_a_line_of_many_keys_is_told_in_few(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(str({f"key{number}": 1 for number in range(10_000)}).replace("'", '"'))
    with pytest.raises(ConfigError, match="has the keys 'key0'") as caught:
        load_texts(path)
    assert len(str(caught.value)) < 500


def test_a_folder_with_something_else_than_files_says_so(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(ConfigError, match=r"a\.txt is no regular file"):
        load_texts(tmp_path)


@pytest.mark.parametrize("name", ["~nobody-here", "a" * 300, "a\0b"])
def test_a_source_that_no_file_can_be_is_told_in_words(name):
    with pytest.raises((ConfigError, MissingMaterial)):
        load_texts(name)


def test_a_txt_file_that_is_not_utf_8_names_the_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\r\n" * 2000 + b"\xff\n")
    with pytest.raises(CorruptData, match="is not UTF-8") as caught:
        load_texts(path)
    assert caught.value.got.startswith(f"line 2001 of {path}")
