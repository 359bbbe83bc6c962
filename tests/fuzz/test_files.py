"""Every file of the corpus, and mutations of it that are the same every time, through every target within the limits."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from assay.dictionaries.gated import Gated
from assay.dictionary import Dictionary
from tests.fuzz import corpus
from tests.fuzz.limits import FREE, Bloat, memory
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS, Broken, run, warm

MUTATIONS = 60
SLOW = {"model_config": 12, "model_weights": 12, "model_tokenizer": 12, "gguf_file": 20, "packed_table": 12}
"""Targets that load a model or unpack at every run: fewer mutations of their corpus."""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("targets")


@pytest.fixture(params=sorted(TARGETS))
def target(request: pytest.FixtureRequest, work: Path) -> str:
    warm(request.param, corpus.files(request.param)["whole"], work)
    return request.param


def test_every_target_has_a_corpus_of_small_files():
    assert {path.name for path in corpus.FOLDER.iterdir()} == {*TARGETS, *corpus.SHARED}
    assert set(TARGETS) == set(corpus.WHOLE)
    for name in TARGETS:
        assert "whole" in corpus.files(name)
        assert max(map(len, corpus.files(name).values())) <= corpus.LARGEST


def test_a_whole_file_is_accepted(target: str, work: Path) -> None:
    assert run(target, corpus.files(target)["whole"], work)


def test_no_file_of_the_corpus_breaks_its_target(target: str, work: Path) -> None:
    for name, data in corpus.files(target).items():
        try:
            run(target, data, work)
        except Broken as broken:
            pytest.fail(f"{name}: {broken}")


def test_no_mutation_breaks_a_target(target: str, work: Path) -> None:
    draw, originals = random.Random(target), list(corpus.files(target).values())
    refused = 0
    for _ in range(SLOW.get(target, MUTATIONS)):
        data = mutated(draw.choice([originals[0], draw.choice(originals)]), draw)
        try:
            refused += not run(target, data, work)
        except Broken as broken:
            pytest.fail(f"{data[:500]!r}: {broken}")
    assert refused or target in ("text_file", "site_name"), "no mutation was refused: they change nothing"


def test_mutations_are_the_same_every_time():
    def some(seed: int) -> list[bytes]:
        draw = random.Random(seed)
        return [mutated(data, draw) for data in corpus.files("tensor_file").values() for _ in range(5)]

    assert some(1) == some(1) != some(2)


@pytest.mark.parametrize("error", [ValueError("no"), RecursionError("no"), MemoryError("no"), BaseException("no")])
def test_a_target_that_raises_anything_else_is_broken(work: Path, monkeypatch: pytest.MonkeyPatch, error) -> None:
    def fail(data: bytes, folder: Path) -> None:
        raise error

    monkeypatch.setitem(TARGETS, "json_file", fail)
    with pytest.raises(Broken):
        run("json_file", b"", work)


def test_a_target_that_does_not_end_is_broken(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forever(data: bytes, folder: Path) -> None:
        while True:
            pass

    monkeypatch.setitem(TARGETS, "json_file", forever)
    monkeypatch.setattr("tests.fuzz.targets.SECONDS", 0.05)
    with pytest.raises(Broken) as caught:
        run("json_file", b"", work)
    assert caught.value.hang


def test_a_target_that_takes_memory_is_broken(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "json_file", lambda data, folder: bytearray(b"x" * (96 << 20)) and None)
    with pytest.raises(Broken, match="Bloat"):
        run("json_file", b"", work)


def test_memory_is_measured():
    with memory(64 << 20):
        bytearray(b"x" * (16 << 20))
    with pytest.raises(Bloat), memory(16 << 20):
        bytearray(b"x" * (64 << 20))


def test_loading_a_dictionary_takes_at_most_twice_its_file(tmp_path: Path) -> None:
    Gated.Config(d_in=512, width=1 << 15).build().save(tmp_path / "gated")
    size = sum(path.stat().st_size for path in (tmp_path / "gated").iterdir())
    assert size > 128 << 20
    with memory(2 * size + FREE):
        Dictionary.load(tmp_path / "gated")
