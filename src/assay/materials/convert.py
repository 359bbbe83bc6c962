"""A llama-architecture GGUF file becomes a folder that transformers reads: float32 safetensors, config, tokenizer.

Everything is derived from the file's own metadata, and what the conversion would have to ignore (a tensor it doesn't
know, scaled rotary positions, another tokenizer) is refused, never dropped. GGUF interleaves the rows of the query and
key weights for rotary positions of adjacent pairs; `split_halves` puts them back in the order of LlamaForCausalLM.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.errors import AssayError, ConfigError, CorruptData, shown
from assay.materials.gguf_layout import check_layout

_IN_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_CONTROL, _USER_DEFINED = 3, 4  # of tokenizer.ggml.token_type
_ROLES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def convert_llama(gguf_file: Path, folder: Path) -> None:
    """Write model.safetensors, config.json and the tokenizer of `gguf_file` into `folder`, which exists.

    Raises ConfigError (not a plain llama with byte-level BPE), CorruptData (damaged, or a tensor is missing), OSError (no space).
    """
    from safetensors.numpy import save_file

    try:
        config, tokenizer, weights = _read(gguf_file)
    except (AssayError, MemoryError):
        raise
    except Exception as error:  # whatever the file made gguf, transformers or tokenizers raise
        raise CorruptData(
            f"{gguf_file} cannot be read ({shown(error)})",
            expected="the GGUF file of a llama",
            do="Fetch the file again.",
        ) from error
    try:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except Exception as error:  # safetensors and tokenizers have their own types for a full disk
        if "No space left" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from None
    (folder / "model.safetensors").chmod(0o644)  # it was written for its owner alone, but a cache may be shared


def _read(gguf_file: Path) -> tuple[Any, Any, dict[str, NDArray[np.float32]]]:
    """Config, tokenizer and weights."""
    from gguf import GGUFReader

    check_layout(gguf_file)
    reader = GGUFReader(gguf_file)
    about = {name: field.contents() for name, field in reader.fields.items()}
    if about.get("general.architecture") != "llama":
        raise _unsupported(gguf_file, f"architecture {shown(about.get('general.architecture'))}", "'llama'")
    config = llama_config(gguf_file, about, tied="output.weight" not in {tensor.name for tensor in reader.tensors})
    tokenizer = byte_level_tokenizer(gguf_file, about)
    return config, tokenizer, _weights(gguf_file, reader.tensors, config)


def llama_config(gguf_file: Path, about: dict[str, Any], *, tied: bool) -> Any:
    """The LlamaConfig that the metadata describe; `tied` says that the output head is the embedding."""
    from transformers import LlamaConfig

    heads = _number(gguf_file, about, "llama.attention.head_count")
    width = _number(gguf_file, about, "llama.embedding_length")
    head_width = about.get("llama.attention.key_length", width // heads)
    scaling = about.get("llama.rope.scaling.type", "none")
    if scaling != "none" or about.get("llama.rope.dimension_count", head_width) != head_width:
        raise _unsupported(
            gguf_file, "scaled or partial rotary positions", "plain rotary positions over the whole head"
        )
    return LlamaConfig(
        vocab_size=about.get("llama.vocab_size", len(about.get("tokenizer.ggml.tokens", ()))),
        hidden_size=width,
        intermediate_size=_number(gguf_file, about, "llama.feed_forward_length"),
        num_hidden_layers=_number(gguf_file, about, "llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=about.get("llama.attention.head_count_kv", heads),
        head_dim=head_width,
        max_position_embeddings=_number(gguf_file, about, "llama.context_length"),
        rms_norm_eps=_number(gguf_file, about, "llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": about.get("llama.rope.freq_base", 10_000.0)},
        tie_word_embeddings=tied,
        architectures=["LlamaForCausalLM"],
        dtype="float32",
        bos_token_id=about.get("tokenizer.ggml.bos_token_id"),
        eos_token_id=about.get("tokenizer.ggml.eos_token_id"),
        pad_token_id=about.get("tokenizer.ggml.padding_token_id"),
    )


def _weights(gguf_file: Path, tensors: list[Any], config: Any) -> dict[str, NDArray[np.float32]]:
    """The state dict of LlamaForCausalLM, dequantised to float32; complete and without strangers."""
    from gguf import dequantize

    if config.num_hidden_layers > len(tensors):  # names are made for each of them below
        raise CorruptData(
            f"{gguf_file} is said to have {config.num_hidden_layers:,} blocks, in {len(tensors)} tensors",
            expected="nine tensors a block",
            do="Fetch the file again.",
        )
    heads_of = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    weights = {}
    for tensor in tensors:
        match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", tensor.name)
        block, kind = match.groups() if match else (None, "")
        name = (_OUTSIDE if block is None else _IN_BLOCK).get(kind)
        if name is None:
            raise _unsupported(gguf_file, f"a tensor {shown(tensor.name)}", "the weights of a plain llama")
        weight = dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape[::-1].tolist())
        if kind in heads_of:
            weight = split_halves(weight, heads_of[kind])
        prefix = "" if block is None else f"model.layers.{block}."
        weights[f"{prefix}{name}.weight"] = np.ascontiguousarray(weight, dtype=np.float32)
    absent = _names(config) ^ weights.keys()
    if absent:
        raise CorruptData(
            f"{gguf_file} has the wrong tensors for {config.num_hidden_layers} blocks: {shown(sorted(absent)[:3])}",
            expected=f"{len(_names(config))} weights",
            do="Fetch the file again.",
        )
    return weights


def split_halves(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows [x0 y0 x1 y1 ...] of each head become [x0 x1 ... y0 y1 ...]; `weight` is [heads * head width, D]."""
    rows, width = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def _names(config: Any) -> set[str]:
    """Every weight that LlamaForCausalLM with this configuration has of its own."""
    outside = set(_OUTSIDE.values()) - ({"lm_head"} if config.tie_word_embeddings else set())
    blocks = {
        f"model.layers.{block}.{name}" for block in range(config.num_hidden_layers) for name in _IN_BLOCK.values()
    }
    return {f"{name}.weight" for name in outside | blocks}


def byte_level_tokenizer(gguf_file: Path, about: dict[str, Any]) -> Any:
    """The byte-level BPE tokenizer in the metadata, as a transformers tokenizer.

    Pre-tokenizers: "gpt-2" (GPT-2's pattern) and "smollm" (every digit by itself, then GPT-2's pattern, so that "a   5"
    is a, three spaces, 5). The GGUF reader of transformers 5.23 skips the digits step and splits such spaces otherwise.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    splits = {
        "gpt-2": byte_level,
        "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level]),
    }
    kind, split = about.get("tokenizer.ggml.model"), about.get("tokenizer.ggml.pre")
    added = [key for key in ("bos", "eos") if about.get(f"tokenizer.ggml.add_{key}_token")]
    if kind != "gpt2" or split not in splits or added or about.get("tokenizer.ggml.add_space_prefix"):
        found = f"a tokenizer {shown(kind)} with pre-tokenizer {shown(split)} that adds {', '.join(added) or 'nothing'}"
        raise _unsupported(gguf_file, found, f"'gpt2' with {' or '.join(splits)} that adds nothing")
    tokens = about["tokenizer.ggml.tokens"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = [tuple(merge.split(" ", 1)) for merge in about["tokenizer.ggml.merges"]]
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer, backend.decoder = splits[split], decoders.ByteLevel()
    for token, token_type in zip(tokens, about["tokenizer.ggml.token_type"], strict=True):
        if token_type == _CONTROL:
            backend.add_special_tokens([AddedToken(token, normalized=False, special=True)])
        elif token_type == _USER_DEFINED:
            backend.add_tokens([AddedToken(token, normalized=False)])
    ids = {role: about.get(f"tokenizer.ggml.{key}_token_id") for role, key in _ROLES.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=about.get("tokenizer.chat_template"),
        model_max_length=_number(gguf_file, about, "llama.context_length"),
        **{role: tokens[index] for role, index in ids.items() if index is not None},
    )


def _number(gguf_file: Path, about: dict[str, Any], key: str) -> Any:
    value = about.get(key)
    if not isinstance(value, int | float) or not 0 < value < 2**31:
        raise _unsupported(gguf_file, f"{key} = {shown(value)}", "a number above zero")
    return about[key]


def _unsupported(gguf_file: Path, got: str, expected: str) -> ConfigError:
    return ConfigError(
        f"{gguf_file.name} has {got}",
        expected=expected,
        do="Convert it to a Hugging Face folder with its maker's tools, and give that folder.",
    )
