"""A llama of two blocks with random weights, written to GGUF by rules of our own, to hold the conversion to.

Heads are 4 queries to 2 keys, so mixing them up shows; weights are drawn far larger than at initialisation, so that
rotary positions matter for the logits.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from transformers import LlamaConfig, LlamaForCausalLM

WIDTH, HEADS, KEY_HEADS, HEAD_WIDTH = 64, 4, 2, 16
MERGES = ["Ġ Ġ", "ĠĠ Ġ", "Ċ Ċ", "t h", "th e", "Ġ the", "1 2"]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_alphabet() -> list[str]:
    """The 256 letters by which byte-level BPE spells bytes: printable ones as themselves, the others from U+0100 on."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


TOKENS = [*SPECIAL, *byte_alphabet(), *(merge.replace(" ", "") for merge in MERGES)]


def tiny_model(*, tied: bool, seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=WIDTH,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        head_dim=HEAD_WIDTH,
        max_position_embeddings=128,
        rms_norm_eps=1e-3,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        tie_word_embeddings=tied,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.copy_(1 + 0.3 * torch.randn(parameter.shape))
    return model


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Row 2i + h of a head is row i of its half h: the order GGUF keeps queries and keys in, one row at a time."""
    result = np.empty_like(weight)
    half = HEAD_WIDTH // 2
    for head in range(heads):
        for row in range(HEAD_WIDTH):
            result[head * HEAD_WIDTH + 2 * (row % half) + row // half] = weight[head * HEAD_WIDTH + row]
    return result


def gguf_weights(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    """The model's weights under their GGUF names."""
    weights = {"token_embd": model.model.embed_tokens.weight, "output_norm": model.model.norm.weight}
    if not model.config.tie_word_embeddings:
        weights["output"] = model.lm_head.weight
    for index, block in enumerate(model.model.layers):
        attention, feed_forward = block.self_attn, block.mlp
        weights |= {
            f"blk.{index}.attn_norm": block.input_layernorm.weight,
            f"blk.{index}.attn_q": torch.tensor(interleaved(attention.q_proj.weight.numpy(), HEADS)),
            f"blk.{index}.attn_k": torch.tensor(interleaved(attention.k_proj.weight.numpy(), KEY_HEADS)),
            f"blk.{index}.attn_v": attention.v_proj.weight,
            f"blk.{index}.attn_output": attention.o_proj.weight,
            f"blk.{index}.ffn_norm": block.post_attention_layernorm.weight,
            f"blk.{index}.ffn_gate": feed_forward.gate_proj.weight,
            f"blk.{index}.ffn_up": feed_forward.up_proj.weight,
            f"blk.{index}.ffn_down": feed_forward.down_proj.weight,
        }
    return {f"{name}.weight": weight.detach().numpy() for name, weight in weights.items()}


def rounded(model: LlamaForCausalLM, kind: Type) -> LlamaForCausalLM:
    """The same model after every matrix went through the quantisation, row by row."""
    for parameter in model.parameters():
        if parameter.ndim == 2:
            there = gguf.quants.quantize(parameter.detach().numpy(), kind)
            parameter.copy_(torch.tensor(gguf.quants.dequantize(there, kind)))
    return model


def write_gguf(path: Path, weights: dict[str, np.ndarray], kind: Type = Type.F32, **changes) -> Path:
    """Write the weights with the metadata of `tiny_model`; `changes` are further keys, dots written as two underscores."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(96)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-3)
    writer.add_rope_freq_base(500.0)
    writer.add_rope_dimension_count(HEAD_WIDTH)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    for key, value in ({"tokenizer__ggml__pre": "smollm"} | changes).items():
        add = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32}[type(value)]
        add(key.replace("__", "."), value)
    for name, weight in weights.items():
        if kind != Type.F32 and weight.ndim == 2:
            writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
