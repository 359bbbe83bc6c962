"""A run that reads several sites, from the shell: stores side by side, and dictionaries that are measured where they write."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from assay.activations import ActivationStore
from assay.analysis.evaluate import evaluate_model
from assay.cli import main
from assay.dictionary import Dictionary
from assay.errors import ConfigError, StoreError
from assay.run import Run, Workspace
from assay.sites import capture, locate
from tests.tiny_language import write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("several")
    write_run(
        place,
        """
        name = "several"
        harvest = { site = "mlp_in.1 + mlp_out.1", tokens = 1500, rows_per_shard = 600 }
        batches.size = 128
        train = { steps = 60, learning_rate = 0.01, checkpoint_every = 20 }
        evaluate.tokens = 300
        latents = { count = 2, arm = "transcoder" }
        [dictionaries]
        transcoder = { variant = "transcoder", width = 48, k = 6 }
        skip = { variant = "skip_transcoder", width = 48, k = 6 }
        crosscoder = { variant = "crosscoder", width = 48 }
        batch = { variant = "batch_topk_crosscoder", width = 48, k = 6 }
        topk = { variant = "topk", width = 48, k = 6 }
        """,
    )
    for verb in ("harvest", "train", "evaluate", "report"):
        assert main([verb, str(place / "run.toml"), "--out", str(place / "out")]) == 0
    return place / "out"


@pytest.fixture
def workspace(folder: Path) -> Workspace:
    return Workspace.open(folder)


def test_rows_are_those_of_each_site_in_the_order_of_each(workspace):
    assert workspace.store.parts == (16, 16)
    alone = [ActivationStore.open(path, batch_size=128) for path in workspace.store_folders()]
    rows = next(workspace.store.batches(7))
    torch.testing.assert_close(rows, torch.cat([next(store.batches(7)) for store in alone], 1))
    torch.testing.assert_close(workspace.store.mean(), torch.cat([store.mean() for store in alone]))
    total = sum(store.moments().variance for store in alone)
    assert workspace.store.moments().variance == pytest.approx(total)


def test_settings_follow_from_the_sites(workspace):
    settings = {
        name: Dictionary.load(workspace.folder / "dictionaries" / name).config for name in workspace.run.dictionaries
    }
    assert (settings["transcoder"].d_in, settings["transcoder"].maps_to) == (16, 16)
    assert (settings["crosscoder"].d_in, settings["crosscoder"].parts) == (32, (16, 16))
    assert (settings["topk"].d_in, settings["topk"].maps_to) == (32, None)


def test_each_is_measured_where_it_writes(folder):
    rows = {row["arm"]: row for row in json.loads((folder / "evaluation.json").read_text())["records"]}
    values = {name: row["values"] for name, row in rows.items()}
    assert all(row["tokens"] == 300 for row in rows.values())
    for same in ("ce_clean", "ce_zero", "ce_mean"):  # whatever this MLP reads, what it gives is replaced
        assert len({values[name][same] for name in values}) == 1
    for name in values:
        assert values[name]["explained_variance"] > 0.3, name
        assert 0 < values[name]["kl"] < 1, name


def test_splice_of_a_transcoder_is_a_forward_with_its_output_in_place(workspace, folder):
    """By hand: the MLP's own input through the transcoder, in place of the MLP's output."""
    transcoder = Dictionary.load(folder / "dictionaries" / "transcoder")
    model, mlp = workspace.language_model.model, workspace.language_model.model.get_submodule("model.layers.1.mlp")
    inputs = workspace.source("held_out").inputs(0, 40)
    keep = inputs.keep & (inputs.keep.flatten().cumsum(0) <= 300).view_as(inputs.keep)

    def instead(module, args, output):
        made = transcoder(args[0].flatten(0, -2)).view_as(output)
        return torch.where(keep[..., None], made, output)

    with torch.no_grad():
        clean = model(**inputs.arguments).logits.log_softmax(-1)
        with mlp.register_forward_hook(instead):
            spliced = model(**inputs.arguments).logits.log_softmax(-1)
    scored = keep.clone()
    scored[:, -1] = False
    kl = (clean.exp() * (clean - spliced)).sum(-1)[scored].mean()
    (record,) = [r for r in json.loads((folder / "evaluation.json").read_text())["records"] if r["arm"] == "transcoder"]
    assert record["values"]["kl"] == pytest.approx(float(kl), rel=1e-4)


def test_what_is_joint_is_replaced_at_every_site(workspace):
    """By hand at two residual sites: the parts are made from the clean forward, and only the kept positions change."""
    model, names = workspace.language_model.model, ("resid_post.0", "resid_post.1")
    dictionary = Dictionary.registry.named("topk").Config(d_in=32, width=40, k=5).build()
    sites, inputs = [locate(model, name) for name in names], workspace.source("held_out").inputs(0, 4)
    found = capture(model, sites, **inputs.arguments)
    rows = torch.cat([found[site] for site in sites], -1)
    dictionary.start(rows.flatten(0, 1))
    kept = inputs.keep[..., None]
    with torch.no_grad(), ExitStack() as hooks:
        clean = model(**inputs.arguments).logits.log_softmax(-1)
        for block, made in enumerate(dictionary(rows.flatten(0, 1)).view_as(rows).split(16, dim=-1)):
            module = model.get_submodule(f"model.layers.{block}")
            hooks.enter_context(
                module.register_forward_hook(lambda _, args, out, made=made: torch.where(kept, made, out))
            )
        spliced = model(**inputs.arguments).logits.log_softmax(-1)
    scored = inputs.keep.clone()
    scored[:, -1] = False
    kl = (clean.exp() * (clean - spliced)).sum(-1)[scored].mean()
    source, mean = workspace.source("held_out"), rows.flatten(0, 1).mean(0)
    found = evaluate_model({"a": dictionary}, model, sites, source, mean=mean, tokens=int(inputs.keep.sum()))
    assert found["a"].values["kl"] == pytest.approx(float(kl), rel=1e-4)
    assert found["a"].shared_prefix is False


def test_examples_are_of_what_is_read(folder):
    for latent in json.loads((folder / "latents.json").read_text())["latents"]:
        assert latent["raised"], "its atoms are in the residual stream"
        for example in latent["examples"]:
            assert example["values"][example["peak"]] > 0


def test_all_of_it_verifies_and_a_shard_of_either_site_is_made_again(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert main(["verify", str(copy)]) == 0
    for shard in sorted(copy.glob("activations/*/shard-00001.safetensors")):
        whole = shard.read_bytes()
        shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert main(["verify", str(copy)]) == 3
        assert main(["verify", str(copy), "--repair"]) == 0
        assert shard.read_bytes() == whole


def test_dry_runs_say_what_they_take(folder, capsys):
    for verb in ("harvest", "train", "evaluate"):
        assert main([verb, str(folder), "--dry-run"]) == 0
        assert "in memory at the most" in capsys.readouterr().out


def test_workers_make_all_sites(folder, tmp_path, capsys):
    command = ["harvest", str(folder), "--out", str(tmp_path)]
    assert main([*command, "--worker", "1/2"]) == 0
    assert "not all there yet" in capsys.readouterr().out
    assert main([*command, "--worker", "2/2"]) == 0
    assert "all shards are there" in capsys.readouterr().out
    assert main(command) == 0
    for shard in folder.glob("activations/*/shard-*"):
        assert (tmp_path / shard.relative_to(folder)).read_bytes() == shard.read_bytes()


def test_rows_of_other_tokens_are_not_joined(workspace, tmp_path):
    first, second = workspace.store_folders()
    other = tmp_path / "other"
    changes = ["--set", "harvest.seed=3", "--set", "harvest.site=mlp_out.1"]
    assert main(["harvest", str(workspace.folder), "--out", str(other), *changes]) == 0
    (elsewhere,) = Workspace.open(other).store_folders()
    with pytest.raises(StoreError, match="seed"):
        ActivationStore.join([first, elsewhere])
    assert ActivationStore.join([first, second]).rows == 1500


def test_sites_that_are_named_twice_or_not_at_all_are_refused():
    for site in ("a + a", "a + ", " + "):
        with pytest.raises((ConfigError, ValueError), match="sites that differ"):
            Run(dictionaries={"a": {"variant": "gated"}}, harvest={"site": site})  # pyright: ignore
