"""A run that reads two models side by side, from the shell, and what its crosscoders say differs between them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from assay.activations import ActivationStore, TextSource, harvest
from assay.analysis.model_diff import LatentScaling
from assay.cli import main
from assay.errors import ConfigError, StoreError
from assay.materials import load_language_model
from assay.run import Workspace
from assay.run.difference import difference, differences
from tests.tiny_language import write_model, write_texts

SITE = "0/resid_post.1 + 1/resid_post.1"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, one that was tuned a little, texts, and a run that has been trained and measured on both."""
    place = tmp_path_factory.mktemp("two")
    write_model(place / "base")
    tuned = load_language_model(str(place / "base")).model
    with torch.no_grad():
        for parameter in tuned.get_submodule("model.layers.1").parameters():
            parameter.mul_(1.3)
    tuned.save_pretrained(place / "tuned")
    load_language_model(str(place / "base")).tokenizer.save_pretrained(place / "tuned")
    write_texts(place / "texts")
    (place / "run.toml").write_text(
        f"""
        model.name = "{place}/base + {place}/tuned"
        source = {{ texts = "{place}/texts", context = 16, held_out = 0.3 }}
        harvest = {{ site = "{SITE}", tokens = 1500, rows_per_shard = 600, dtype = "float32" }}
        batches.size = 128
        train = {{ steps = 40, learning_rate = 0.01 }}
        evaluate.tokens = 200
        latents.count = 2
        [dictionaries]
        crosscoder = {{ variant = "crosscoder", width = 48 }}
        batch = {{ variant = "batch_topk_crosscoder", width = 48, k = 6 }}
        topk = {{ variant = "topk", width = 48, k = 6 }}
        """,
        encoding="utf-8",
    )
    for verb in ("harvest", "train", "evaluate", "report"):
        assert main([verb, str(place / "run.toml"), "--out", str(place / "out")]) == 0
    return place


def alone(place: Path, name: str, folder: Path) -> Path:
    """The activations of one of the models, harvested by itself from the same source."""
    base = load_language_model(str(place / "base"))
    texts = [path.read_text() for path in sorted((place / "texts").iterdir())]
    source = TextSource(texts, base.tokenizer, context=16, part="train", held_out=0.3)
    model = load_language_model(str(place / name)).model
    harvest(
        model, source, ["resid_post.1"], folder, tokens=1500, rows_per_shard=600, dtype="float32", identity={"is": name}
    )
    return folder / "model.layers.1.out"


def test_rows_are_those_of_each_model_alone(place: Path, tmp_path: Path) -> None:
    both = Workspace.open(place / "out").store
    assert both.parts == (16, 16)
    joined = ActivationStore.join([alone(place, name, tmp_path / name) for name in ("base", "tuned")])
    torch.testing.assert_close(both.sample(1500), joined.sample(1500))
    first, second = both.sample(1500).split(16, 1)
    assert not torch.allclose(first, second)
    assert joined.identity["model"].keys() == {"0", "1"}


def test_stores_of_other_text_are_not_joined(place: Path, tmp_path: Path) -> None:
    base = load_language_model(str(place / "base"))
    source = TextSource(["the film is slow"] * 400, base.tokenizer, context=16)
    harvest(base.model, source, ["resid_post.1"], tmp_path / "other", tokens=1500, rows_per_shard=600, dtype="float32")
    with pytest.raises(StoreError, match="different rows"):
        ActivationStore.join([alone(place, "base", tmp_path / "base"), tmp_path / "other" / "model.layers.1.out"])


def test_losses_are_those_of_the_first_model(place: Path, tmp_path: Path) -> None:
    rows = json.loads((place / "out" / "evaluation.json").read_text())["records"]
    assert {row["arm"] for row in rows} == {"crosscoder", "batch", "topk"}
    settings = [f'model.name="{place}/base"', "harvest.site=resid_post.1"]
    changes = [word for change in settings for word in ("--set", change)]
    for verb in ("harvest", "train", "evaluate"):
        assert main([verb, str(place / "run.toml"), *changes, "--out", str(tmp_path / "one")]) == 0
    one = json.loads((tmp_path / "one" / "evaluation.json").read_text())["records"]
    assert rows[0]["values"]["ce_clean"] == pytest.approx(one[0]["values"]["ce_clean"])
    assert rows[0]["values"]["ce_zero"] == pytest.approx(one[0]["values"]["ce_zero"])


def test_the_memory_is_reckoned_and_everything_is_verified(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["harvest", str(place / "run.toml"), "--out", str(place / "planned"), "--dry-run"]) == 0
    assert "language model" in capsys.readouterr().out
    assert main(["verify", str(place / "out")]) == 0


def test_crosscoders_say_what_is_in_one_model_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(place / "out"), "--json", "--least", "0.55"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {each["arm"] for each in found} == {"crosscoder", "batch"}
    for each in found:
        assert [part["site"] for part in each["parts"]] == SITE.split(" + ")
        assert all(len(part["own"]) <= part["looks"] <= each["living"] <= 48 for part in each["parts"])
        assert (each["largest"] >= 0.55) == any(part["looks"] for part in each["parts"])
    assert sum(part["looks"] for each in found for part in each["parts"]) > 0
    assert main(["diff", str(place / "out"), "--of", "batch"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("batch, ")
    assert "1/resid_post.1: " in said


def test_a_latent_is_own_where_its_norm_is_and_scaling_finds_it_nowhere_else() -> None:
    shares = torch.tensor([[0.95, 0.05], [0.06, 0.94], [0.97, 0.03], [0.5, 0.5], [0.99, 0.01]], dtype=torch.float64)
    error = torch.tensor(
        [0.1, 0.1, 0.4, 0.9, float("nan")], dtype=torch.float64
    )  # 2 is in the other's error, 4 never fired
    found = difference("arm", LatentScaling(shares, error, torch.zeros(5, dtype=torch.float64)), ["a", "b"], 0.9)
    assert (found.living, found.largest) == (4, 0.97)
    assert [(part.site, part.looks, part.own) for part in found.parts] == [("a", 2, (0,)), ("b", 1, (1,))]


def test_what_cannot_be_told_apart_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, why in (
        (["--of", "nix"], "no dictionary is called 'nix'"),
        (["--of", "topk"], "two parts or more"),
        (["--least", "0.3"], "above 0.5"),
    ):
        assert main(["diff", str(place / "out"), *arguments]) == 1
        assert why in capsys.readouterr().err


def test_a_run_without_crosscoders_says_so(place: Path, tmp_path: Path) -> None:
    settings = [f'model.name="{place}/base"', "harvest.site=resid_post.1"]
    changes = [word for change in settings for word in ("--set", change)]
    for verb in ("harvest", "train"):
        assert main([verb, str(place / "run.toml"), *changes, "--out", str(tmp_path / "one")]) == 0
    with pytest.raises(ConfigError, match="has no crosscoder"):
        list(differences(tmp_path / "one"))


def test_models_of_other_tokens_are_refused(place: Path, tmp_path: Path) -> None:
    other = load_language_model(str(place / "base"))
    other.tokenizer.add_tokens(["gaffer"])
    other.model.save_pretrained(tmp_path / "other")
    other.tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(ConfigError, match="has another tokenizer than 'base'"):
        load_language_model(f"{place}/base + {tmp_path}/other")


def test_a_folder_with_the_joint_in_its_name_is_that_folder(tmp_path: Path) -> None:
    write_model(tmp_path / "a + b")
    assert load_language_model(str(tmp_path / "a + b")).name == "a + b"
