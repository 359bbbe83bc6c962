"""The converted folder computes what the GGUF file says, and what it cannot say is refused."""

from __future__ import annotations

import json

import gguf
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from assay.errors import ConfigError, CorruptData
from assay.materials import convert
from assay.materials.convert import convert_llama

IDS = torch.arange(80).reshape(2, 40)


@pytest.fixture
def converted(tmp_path):
    """Convert and load: GGUF file -> (folder, model, tokenizer)."""

    def run(file):
        folder = tmp_path / "converted"
        folder.mkdir()
        convert_llama(file, folder)
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        return folder, model.eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)

    return run


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "own head"])
@pytest.mark.parametrize("kind", ["F32", "Q4_1", "Q8_0"])
def test_the_converted_model_computes_the_same_logits(tmp_path, tiny_llama, converted, tied, kind):
    quantisation = gguf.GGMLQuantizationType[kind]
    original = tiny_llama.tiny_model(tied=tied)
    file = tiny_llama.write_gguf(tmp_path / "a.gguf", tiny_llama.gguf_weights(original), quantisation)
    if kind != "F32":
        original = tiny_llama.rounded(original, quantisation)
    folder, model, _ = converted(file)
    with torch.no_grad():
        torch.testing.assert_close(model(IDS).logits, original(IDS).logits, rtol=0, atol=0)
    weights = load_file(folder / "model.safetensors")
    assert ("lm_head.weight" in weights) is not tied
    assert (folder / "model.safetensors").stat().st_mode & 0o444 == 0o444
    assert {weight.dtype for weight in weights.values()} == {np.dtype(np.float32)}


def test_the_order_of_query_rows_matters_so_the_test_above_means_something(
    tmp_path, tiny_llama, converted, monkeypatch
):
    original = tiny_llama.tiny_model(tied=True)
    monkeypatch.setattr(convert, "split_halves", lambda weight, heads: weight)
    _, model, _ = converted(tiny_llama.write_gguf(tmp_path / "a.gguf", tiny_llama.gguf_weights(original)))
    with torch.no_grad():
        assert (model(IDS).logits - original(IDS).logits).abs().max() > 0.1


def test_the_configuration_comes_from_the_file(tmp_path, tiny_llama, converted):
    original = tiny_llama.tiny_model(tied=False)
    folder, model, _ = converted(tiny_llama.write_gguf(tmp_path / "a.gguf", tiny_llama.gguf_weights(original)))
    names = (
        "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim "
        "max_position_embeddings rope_parameters tie_word_embeddings"
    )
    for name in names.split():
        assert getattr(model.config, name) == getattr(original.config, name), name
    assert model.config.rms_norm_eps == pytest.approx(1e-3, rel=1e-6)
    assert (model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id) == (1, 2, 2)
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]


@pytest.mark.parametrize(
    ("split", "text", "tokens"),
    [
        ("smollm", "a   5", ["a", "ĠĠĠ", "5"]),
        ("gpt-2", "a   5", ["a", "ĠĠ", "Ġ", "5"]),
        ("smollm", "\n\n12", ["ĊĊ", "1", "2"]),
        ("gpt-2", "\n\n12", ["Ċ", "Ċ", "12"]),
        ("smollm", "by the<|im_end|>é", ["b", "y", "Ġthe", "<|im_end|>", "Ã", "©"]),
    ],
)
def test_text_is_split_as_the_file_says(tmp_path, tiny_llama, converted, split, text, tokens):
    weights = tiny_llama.gguf_weights(tiny_llama.tiny_model(tied=True))
    file = tiny_llama.write_gguf(tmp_path / "a.gguf", weights, tokenizer__ggml__pre=split)
    _, _, tokenizer = converted(file)
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == tokens
    assert tokenizer.decode(ids) == text
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert tokenizer.unk_token == "<|endoftext|>"
    assert tokenizer.model_max_length == 128


def test_without_digits_the_tokens_are_those_of_the_gguf_reader_in_transformers(tmp_path, tiny_llama, converted):
    weights = tiny_llama.gguf_weights(tiny_llama.tiny_model(tied=True))
    file = tiny_llama.write_gguf(tmp_path / "a.gguf", weights)
    theirs = AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name, local_files_only=True)
    _, _, ours = converted(file)
    text = "The  other:\tthe\n\n\nthe    naïve 日本 — it's <|im_start|>the <|im_end|>  "
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert ours.all_special_ids == theirs.all_special_ids


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer__ggml__pre": "llama-bpe"}, "pre-tokenizer 'llama-bpe'"),
        ({"tokenizer__ggml__add_bos_token": True}, "adds bos"),
        ({"llama__rope__scaling__type": "yarn"}, "rotary"),
        ({"llama__attention__key_length": 32}, "rotary"),
    ],
)
def test_what_the_conversion_would_have_to_ignore_is_refused(tmp_path, tiny_llama, changes, message):
    weights = tiny_llama.gguf_weights(tiny_llama.tiny_model(tied=True))
    file = tiny_llama.write_gguf(tmp_path / "a.gguf", weights, **changes)
    with pytest.raises(ConfigError, match=message):
        convert_llama(file, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_another_architecture_is_refused(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "qwen2")
    writer.add_tensor("token_embd.weight", np.zeros((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ConfigError, match=r"architecture 'qwen2'; expected 'llama'"):
        convert_llama(tmp_path / "a.gguf", tmp_path)


def test_a_tensor_too_many_is_refused_and_one_too_few_is_corrupt(tmp_path, tiny_llama):
    weights = tiny_llama.gguf_weights(tiny_llama.tiny_model(tied=True))
    stranger = {"rope_freqs.weight": np.ones(8, np.float32)}
    with pytest.raises(ConfigError, match=r"a tensor 'rope_freqs\.weight'"):
        convert_llama(tiny_llama.write_gguf(tmp_path / "a.gguf", weights | stranger), tmp_path)
    del weights["blk.1.attn_v.weight"]
    with pytest.raises(CorruptData, match=r"model\.layers\.1\.self_attn\.v_proj\.weight"):
        convert_llama(tiny_llama.write_gguf(tmp_path / "b.gguf", weights), tmp_path)


def test_a_full_disk_is_told_as_the_system_tells_it(tmp_path, tiny_llama, monkeypatch):
    weights = tiny_llama.gguf_weights(tiny_llama.tiny_model(tied=True))
    file = tiny_llama.write_gguf(tmp_path / "a.gguf", weights)

    def full(*arguments, **options):
        from safetensors import SafetensorError

        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        convert_llama(file, tmp_path)
    assert caught.value.errno == 28


def test_queries_of_one_head_are_split_into_halves():
    weight = np.arange(8, dtype=np.float32)[:, None]
    assert convert.split_halves(weight, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
