"""Contexts of text and of tensors: what is in them, where it is from, what is kept and what is held out."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from assay.activations import source as source_module
from assay.activations.source import Source, TensorSource, TextSource, is_held_out
from assay.errors import ConfigError, ShapeMismatch, StoreError

EOS, BOS = 0, 1


def everything(source: TextSource) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    inputs = source.inputs(0, len(source))
    return inputs.arguments["input_ids"], inputs.keep, inputs.origin


def test_contexts_are_the_documents_joined_each_with_its_separator(documents, tokenizer):
    source = TextSource(documents, tokenizer, context=16, seed=3)
    tokens, _, origin = everything(source)
    assert tokens.shape == (len(source), 16)
    assert len(source) > 50
    order = list(dict.fromkeys(origin[..., 0].flatten().tolist()))
    order.remove(-1)
    missing = [document for document in range(60) if not documents[document]]
    joined = [token for document in order for token in [*source.document_tokens(document).tolist(), EOS]]
    stream = tokens.flatten().tolist()
    # Empty documents are separators without tokens, so they show in the stream only.
    without_empty = [token for at, token in enumerate(stream) if token != EOS or stream[at - 1] != EOS]
    assert without_empty == joined[: len(without_empty)]
    assert stream.count(EOS) - without_empty.count(EOS) <= len(missing)
    assert order != sorted(order)


def test_every_token_is_used_but_a_rest_shorter_than_a_context(documents, tokenizer):
    source = TextSource(documents, tokenizer, context=16)
    tokens = sum(len(document.split()) + 1 for document in documents)
    assert len(source) == tokens // 16


def test_the_origin_of_a_token_leads_back_to_it(documents, tokenizer_with_bos):
    source = TextSource(documents, tokenizer_with_bos, context=16, seed=1)
    tokens, keep, origin = everything(source)
    for token, (document, position) in zip(tokens.flatten().tolist(), origin.view(-1, 2).tolist(), strict=True):
        if document >= 0:
            assert source.document_tokens(document)[position] == token
        else:
            assert (document, position) == (-1, -1)
            assert token in (EOS, BOS)
    assert (origin[keep] >= 0).all()


def test_special_tokens_and_first_positions_are_not_kept(documents, tokenizer, tokenizer_with_bos):
    for each in (tokenizer, tokenizer_with_bos):
        tokens, keep, _ = everything(TextSource(documents, each, context=16))
        special = torch.isin(tokens, torch.tensor(each.all_special_ids))
        assert not keep[:, 0].any()
        assert torch.equal(keep[:, 1:], ~special[:, 1:])
        assert special[:, 1:].any()


def test_a_context_begins_with_bos_if_and_only_if_the_tokenizer_adds_it(documents, tokenizer, tokenizer_with_bos):
    plain, _, _ = everything(TextSource(documents, tokenizer, context=16))
    begun, _, origin = everything(TextSource(documents, tokenizer_with_bos, context=16))
    assert (plain != BOS).all()
    assert (begun[:, 0] == BOS).all()
    assert (begun[:, 1:] != BOS).all()
    assert (origin[:, 0] == -1).all()
    same = min(plain.numel(), begun[:, 1:].numel())
    assert torch.equal(begun[:, 1:].flatten()[:same], plain.flatten()[:same])


def test_any_slice_of_contexts_is_the_same_slice_of_all(documents, tokenizer):
    source = TextSource(documents, tokenizer, context=16)
    whole, some = source.inputs(0, len(source)), source.inputs(5, 9)
    assert torch.equal(some.arguments["input_ids"], whole.arguments["input_ids"][5:9])
    assert torch.equal(some.keep, whole.keep[5:9])
    assert torch.equal(some.origin, whole.origin[5:9])
    assert len(source.inputs(len(source) - 2, len(source) + 50).keep) == 2


def test_tokenising_in_pieces_changes_nothing(documents, tokenizer, monkeypatch):
    whole = everything(TextSource(documents, tokenizer, context=16))
    monkeypatch.setattr(source_module, "TOKENISED_AT_ONCE", 7)
    for one, other in zip(whole, everything(TextSource(documents, tokenizer, context=16)), strict=True):
        assert torch.equal(one, other)


def test_train_and_held_out_share_no_document_and_together_are_all(documents, tokenizer):
    parts = {
        part: TextSource(documents, tokenizer, context=8, part=part, held_out=0.3, seed=2)
        for part in ("all", "train", "held_out")
    }
    found = {part: set(everything(source)[2][..., 0].flatten().tolist()) - {-1} for part, source in parts.items()}
    assert not found["train"] & found["held_out"]
    assert found["train"] | found["held_out"] == found["all"]
    assert 0.1 < len(found["held_out"]) / len(found["all"]) < 0.5


def test_holding_out_depends_on_seed_and_index_alone():
    chosen = [document for document in range(4_000) if is_held_out(document, 0.1, 5)]
    assert abs(len(chosen) / 4_000 - 0.1) < 0.015
    assert chosen == [document for document in range(4_000) if is_held_out(document, 0.1, 5)]
    wider = {document for document in range(4_000) if is_held_out(document, 0.2, 5)}
    assert set(chosen) < wider
    assert chosen != [document for document in range(4_000) if is_held_out(document, 0.1, 6)]


@pytest.mark.parametrize("text", ["the cat", "  the  cat \n and the 🙂 hat", "naïve — 日本語 🙂🙂", " ", ""])
def test_the_text_of_all_tokens_joins_to_the_document(byte_tokenizer, text):
    source = TextSource([text, "the mat"], byte_tokenizer, context=4)
    pieces = source.text(0, 0, 10_000)
    assert len(pieces) == len(source.document_tokens(0))
    assert text.startswith("".join(pieces))
    assert not text[len("".join(pieces)) :].strip()


def test_the_text_of_a_stretch_is_clipped_to_the_document(documents, tokenizer):
    source = TextSource(documents, tokenizer, context=16)
    words = documents[3].split()
    assert [piece.strip() for piece in source.text(3, 1, 4)] == words[1:4]
    assert source.text(3, -5, 2) == source.text(3, 0, 2)
    assert source.text(3, len(words) - 1, len(words) + 9) == source.text(3, len(words) - 1, len(words))
    assert source.text(3, -9, -2) == source.text(3, len(words), len(words) + 3) == []


def test_a_tokenizer_without_offsets_gives_the_text_of_single_tokens(documents, tokenizer):
    class Slow(SimpleNamespace):
        def __call__(self, *args, **options):
            return tokenizer(*args, **options)

    known = ("eos_token_id", "bos_token_id", "all_special_ids", "name_or_path", "decode", "get_vocab")
    slow = Slow(is_fast=False, **{name: getattr(tokenizer, name) for name in known})
    source = TextSource(documents, slow, context=16)
    assert source.text(3, 0, 3) == documents[3].split()[:3]
    assert source.text(3, -9, -2) == []
    assert source.token_text(source.document_tokens(3)[0].item()) == documents[3].split()[0]


def test_an_identity_is_json_and_differs_whenever_a_context_could(documents, tokenizer, tokenizer_with_bos):
    def identity(some=documents, each=tokenizer, **settings) -> str:
        return json.dumps(TextSource(some, each, **{"context": 16, **settings}).identity, sort_keys=True)

    changed = [
        identity([*documents[:-1], documents[-1] + " w1"]),
        identity(documents[::-1]),
        identity(context=17),
        identity(part="train"),
        identity(held_out=0.2),
        identity(seed=1),
    ]
    assert identity() == identity(list(documents))
    assert len({identity(), *changed}) == 7


def test_the_identity_of_a_local_tokenizer_names_no_folder(documents, tokenizer):
    local = copy.deepcopy(tokenizer)
    local.name_or_path = "/somewhere/on/this/machine/tiny"
    assert TextSource(documents, local).identity["tokenizer"]["name"] == "tiny"


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"part": "test"}, "part"),
        ({"context": 1}, "context"),
        ({"held_out": 1.0}, "held_out"),
        ({"held_out": -0.1}, "held_out"),
    ],
)
def test_a_setting_out_of_range_is_named(documents, tokenizer, settings, wrong):
    with pytest.raises((ConfigError, TypeError), match=wrong):
        TextSource(documents, tokenizer, **settings)


def test_a_tokenizer_without_an_end_of_text_is_refused(documents, tokenizer):
    endless = copy.deepcopy(tokenizer)
    endless.eos_token = None
    with pytest.raises(ConfigError, match="eos_token"):
        TextSource(documents, endless)


def test_an_empty_part_is_refused(tokenizer):
    with pytest.raises(StoreError, match="held_out"):
        TextSource(["w1 w2"], tokenizer, part="held_out", held_out=0.0)


def test_text_too_short_for_one_context_is_refused_with_its_length(tokenizer):
    with pytest.raises(StoreError, match=r"2 documents .* 6 tokens.* 128"):
        len(TextSource(["w1 w2", "w3 w4"], tokenizer))


@pytest.mark.parametrize("ask", [lambda source: source.text(60, 0, 1), lambda source: source.document_tokens(-1)])
def test_a_document_that_does_not_exist_is_refused(documents, tokenizer, ask: Callable[[TextSource], object]):
    with pytest.raises(StoreError, match="no document"):
        ask(TextSource(documents, tokenizer))


def test_rows_of_tensors_are_contexts():
    images, scale = torch.randn(5, 3, 4), torch.arange(5)
    source = TensorSource(positions=2, x=images, scale=scale)
    inputs = source.inputs(1, 3)
    assert len(source) == 5
    assert torch.equal(inputs.arguments["x"], images[1:3])
    assert torch.equal(inputs.arguments["scale"], scale[1:3])
    assert inputs.keep.all()
    assert inputs.origin.tolist() == [[[1, 0], [1, 1]], [[2, 0], [2, 1]]]
    assert len(source.inputs(4, 9).keep) == 1


def test_the_identity_of_tensors_is_that_of_their_bytes():
    rows = torch.randn(4, 3)
    other = rows.clone()
    other[2, 1] += 1e-3
    identities = [
        TensorSource(x=rows).identity,
        TensorSource(x=other).identity,
        TensorSource(x=rows.double()).identity,
        TensorSource(y=rows).identity,
        TensorSource(x=rows, positions=2).identity,
        TensorSource(x=rows.view(4, 3, 1)).identity,
    ]
    assert TensorSource(x=rows.clone()).identity == identities[0]
    assert len({json.dumps(identity, sort_keys=True) for identity in identities}) == 6
    assert TensorSource(x=torch.ones(2, 1, dtype=torch.bool), y=torch.ones(2).bfloat16()).identity


def test_tensors_must_be_there_and_have_as_many_rows():
    with pytest.raises(ConfigError, match="TensorSource"):
        TensorSource()
    with pytest.raises(ConfigError, match="0 positions"):
        TensorSource(positions=0, x=torch.zeros(3))
    with pytest.raises(ShapeMismatch, match="x: 3, y: 4"):
        TensorSource(x=torch.zeros(3), y=torch.zeros(4))


def test_both_are_sources(documents, tokenizer):
    assert isinstance(TextSource(documents, tokenizer), Source)
    assert isinstance(TensorSource(x=torch.zeros(1)), Source)
