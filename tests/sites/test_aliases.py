"""Every spelling of a site leads to the same address, and that address holds the tensor that the name promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from assay.errors import ConfigError, SiteNotFound
from assay.sites import Site, capture, list_sites, locate

ADDRESSES = {
    "llama": {
        "embed": "model.embed_tokens:out",
        "resid_pre.1": "model.layers.1:in",
        "attn_in.1": "model.layers.1.self_attn:in",
        "z.1": "model.layers.1.self_attn.o_proj:in",
        "attn_out.1": "model.layers.1.self_attn:out",
        "mlp_in.1": "model.layers.1.mlp:in",
        "mlp_out.1": "model.layers.1.mlp:out",
        "resid_post.1": "model.layers.1:out",
        "final_norm": "model.norm:out",
    },
    "gpt2": {
        "embed": "transformer.wte:out",
        "resid_post.1": "transformer.h.1:out",
        "z.1": "transformer.h.1.attn.c_proj:in",
        "attn_out.1": "transformer.h.1.attn:out",
        "mlp_out.1": "transformer.h.1.mlp:out",
        "final_norm": "transformer.ln_f:out",
    },
    "neox": {
        "resid_post.1": "gpt_neox.layers.1:out",
        "z.1": "gpt_neox.layers.1.attention.dense:in",
        "final_norm": "gpt_neox.final_layer_norm:out",
    },
    "gemma2": {
        "attn_out.1": "model.layers.1.post_attention_layernorm:out",
        "mlp_in.1": "model.layers.1.mlp:in",
        "mlp_out.1": "model.layers.1.post_feedforward_layernorm:out",
    },
    "t5": {
        "embed": "decoder.embed_tokens:out",
        "resid_post.-1": "decoder.block.1:out",
        "final_norm": "decoder.final_layer_norm:out",
    },
    "bert": {"embed": "bert.embeddings.word_embeddings:out", "resid_pre.0": "bert.encoder.layer.0:in"},
}


@pytest.mark.parametrize(("model", "name"), [(model, name) for model, names in ADDRESSES.items() for name in names])
def test_names_lead_to_the_modules_of_each_family(language_models, model, name):
    assert str(locate(language_models[model], name)) == ADDRESSES[model][name]


@pytest.mark.parametrize(
    "spellings",
    [
        "resid_post.2, resid_post.-1, blocks.2.hook_resid_post, blocks.-1.hook_resid_post, layers.2, model.layers.2:out",
        "resid_pre.0, blocks.0.hook_resid_pre, layers.0:in, model.layers.0:in, resid_pre.-3",
        "z.1, blocks.1.attn.hook_z, layers.1.self_attn.o_proj:in, 1.self_attn.o_proj:in",
        "attn_out.1, blocks.1.hook_attn_out, layers.1.self_attn",
        "mlp_out.1, blocks.1.hook_mlp_out, layers.1.mlp, 1.mlp:out",
    ],
)
def test_all_spellings_are_one_site(llama, spellings):
    sites = {locate(llama, spelling) for spelling in spellings.split(",")}
    assert len(sites) == 1
    site = sites.pop()
    assert locate(llama, site) == locate(llama, str(site)) == site


def test_a_path_comes_before_a_name():
    model = nn.ModuleDict({"embed": nn.Linear(2, 2), "words": nn.Embedding(3, 2)})
    assert locate(model, "embed") == Site("embed")
    del model["embed"]
    assert locate(model, "embed") == Site("words")


def test_what_attention_and_the_mlp_add_makes_up_a_block(decoder, tokens):
    names = ("resid_pre.1", "attn_out.1", "mlp_out.1", "resid_post.1")
    before, attention, mlp, after = capture(decoder, [locate(decoder, name) for name in names], tokens).values()
    torch.testing.assert_close(before + attention + mlp, after)


def test_the_residual_stream_is_what_transformers_calls_hidden_states(decoder, tokens):
    with torch.no_grad():
        states = decoder(tokens, output_hidden_states=True).hidden_states
    names = ("resid_pre.0", "resid_post.0", "resid_post.1", "final_norm")
    for name, state in zip(names, states, strict=True):
        site = locate(decoder, name)
        assert torch.equal(capture(decoder, [site], tokens)[site], state), name


def test_z_times_the_output_projection_is_what_attention_returns(llama, tokens):
    z, out = (locate(llama, name) for name in ("z.1", "attn_out.1"))
    found = capture(llama, [z, out], tokens)
    assert torch.equal(llama.model.layers[1].self_attn.o_proj(found[z]), found[out])


def test_every_listed_site_is_found_and_reached(decoder, tokens):
    names = list_sites(decoder)
    assert names[0] == "embed"
    assert names[-1] == "final_norm"
    assert len(names) == 2 + 3 * 7
    assert len(capture(decoder, [locate(decoder, name) for name in names], tokens)) == len(names)


def test_a_model_without_numbered_blocks_lists_its_modules():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()))
    assert list_sites(model) == ["0", "1", "1.0"]
    with pytest.raises(SiteNotFound, match="no list of blocks"):
        locate(model, "resid_post.0")


def test_blocks_are_the_outermost_list_not_the_experts_inside():
    blocks = [nn.ModuleDict({"experts": nn.ModuleList(nn.Linear(2, 2) for _ in range(9))}) for _ in range(3)]
    model = nn.ModuleDict({"heads": nn.ModuleList([nn.Linear(2, 2)]), "blocks": nn.ModuleList(blocks)})
    assert locate(model, "resid_post.-1") == Site("blocks.2")


def test_two_equal_stacks_are_not_guessed_between():
    model = nn.ModuleDict({"down": nn.ModuleList([nn.Linear(2, 2)]), "up": nn.ModuleList([nn.Linear(2, 2)])})
    with pytest.raises(SiteNotFound, match="several lists of 1 blocks, down and up"):
        locate(model, "resid_post.0")
    assert "up.0" in list_sites(model)


def test_a_part_that_returns_the_sum_is_not_passed_off_as_what_it_adds(language_models):
    class SumOfBoth(nn.Module):
        def forward(self, x: Tensor, residual: Tensor) -> Tensor:
            return x + residual

    model = nn.ModuleDict({"layers": nn.ModuleList([nn.ModuleDict({"mlp": SumOfBoth()})])})
    assert locate(model, "mlp_in.0") == Site("layers.0.mlp", "in")
    for refusing, name in ((model, "mlp_out.0"), (language_models["bert"], "attn_out.0")):
        with pytest.raises(SiteNotFound, match="no part that"):
            locate(refusing, name)


def test_a_norm_of_the_embeddings_is_not_the_final_norm():
    blocks = nn.ModuleList([nn.Linear(2, 2)])
    last = nn.ModuleDict({"ln_f": nn.LayerNorm(2), "blocks": blocks, "word_embeddings_layernorm": nn.LayerNorm(2)})
    assert locate(last, "final_norm") == Site("ln_f")


def test_torch_attention_has_no_z_for_it_never_calls_its_projection():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, batch_first=True), 2, enable_nested_tensor=False)
    assert "attn_out.0" in list_sites(model)
    assert "z.0" not in list_sites(model)


def test_a_block_that_is_not_there_is_answered_with_their_number(gpt2):
    with pytest.raises(
        SiteNotFound, match=r"3 blocks, transformer\.h\.0 to transformer\.h\.2; expected a block from -3 to 2"
    ):
        locate(gpt2, "resid_post.3")
    with pytest.raises(SiteNotFound):
        locate(gpt2, "resid_post.-4")


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("resid_pos.1", "resid_post.1"),
        ("transformer.h.1.atn", "transformer.h.1.attn"),
        ("transformer.h.1.atn:in", "transformer.h.1.attn"),
        ("embedding", "embed"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(gpt2, wrong, near):
    with pytest.raises(SiteNotFound) as error:
        locate(gpt2, wrong)
    assert wrong in error.value.got
    assert near in error.value.expected.split("are ")[1].split(", ")
    assert "list_sites(model)" in error.value.do
    assert "3 blocks" in error.value.do


@pytest.mark.parametrize("foreign", ["blocks.1.hook_mlp_in", "blocks.1.ln2.hook_normalized", "blocks.1.attn.hook_q"])
def test_a_foreign_name_that_means_another_tensor_here_is_refused(gpt2, foreign):
    with pytest.raises(SiteNotFound, match="has no site"):
        locate(gpt2, foreign)


def test_an_ambiguous_end_of_a_path_is_not_guessed(gpt2, language_models):
    with pytest.raises(SiteNotFound, match=r"any of 3 modules.*transformer\.h\.0\.mlp"):
        locate(gpt2, "mlp")
    with pytest.raises(SiteNotFound, match=r"encoder\.block\.0, decoder\.block\.0"):
        locate(language_models["t5"], "block.0")


def test_a_site_of_another_model_is_not_found(gpt2):
    with pytest.raises(SiteNotFound):
        locate(gpt2, Site("model.layers.0"))
    with pytest.raises(ConfigError):
        locate(gpt2, "h.0:middle")


def test_a_tap_is_taken_on_trust(gpt2):
    assert locate(gpt2, "tap:state") == locate(gpt2, Site("state", "tap")) == Site("state", "tap")


def test_wrapping_a_model_changes_no_address(gpt2):
    for wrapped in (nn.DataParallel(gpt2), torch.compile(gpt2, backend="eager")):
        assert locate(wrapped, "resid_post.1") == locate(gpt2, "resid_post.1")
        assert list_sites(wrapped) == list_sites(gpt2)


def test_a_model_may_refuse_to_say_where_its_embedding_is():
    class Refusing(nn.Sequential):
        def get_input_embeddings(self) -> nn.Module:
            raise NotImplementedError

    assert locate(Refusing(nn.Embedding(3, 2)), "embed") == Site("0")


def test_compiling_the_parts_of_a_model_changes_no_address():
    def parts() -> nn.ModuleDict:
        return nn.ModuleDict({"mlp": nn.Sequential(nn.Linear(2, 2))})

    def model(*blocks: nn.Module) -> nn.Module:
        return nn.ModuleDict({"layers": nn.ModuleList(blocks), "norm": nn.LayerNorm(2)})

    plain, compiled = model(parts()), model(torch.compile(parts(), backend="eager"))
    assert list_sites(compiled) == list_sites(plain)
    for name in ("mlp_out.0", "layers.0.mlp.0", "0.mlp", "final_norm"):
        assert locate(compiled, name) == locate(plain, name)
    with pytest.raises(SiteNotFound, match=r"nearest are layers\.0\.mlp"):
        locate(compiled, "layers.0.mpl")
