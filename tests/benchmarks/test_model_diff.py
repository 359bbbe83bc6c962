"""The comparison of a model and its tuning: tuned once, trained and measured through the verbs, a page that follows from the rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.run import Run
from benchmarks import model_diff, model_diff_page
from tests.tiny_language import WORDS, write_model, write_texts

TINY = {
    "train.steps": 20,
    "batches.size": 128,
    "dictionaries.l1.width": 48,
    "dictionaries.batch_topk.width": 48,
    "sweep.l1": [0.2],
    "sweep.batch_topk": [6],
    "seeds": [0, 1],
    "harvest.tokens": 1500,
    "harvest.site": "0/resid_post.1 + 1/resid_post.1",
    "source.context": 16,
    "source.held_out": 0.3,
    "evaluate.tokens": 200,
}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_model(tmp_path / "lm")
    write_texts(tmp_path / "texts")
    plots = [" ".join(WORDS * 4)] * 20
    tiny = {"MODEL": str(tmp_path / "lm"), "STEPS": 10, "CONTEXTS": 2, "CONTEXT": 16, "RATE": 0.01}
    places = {"FOLDER": tmp_path / "build", "RESULT": tmp_path / "model_diff.json"}
    for name, value in {**tiny, **places}.items():
        monkeypatch.setattr(model_diff, name, value)
    monkeypatch.setattr(model_diff, "load_by_label", lambda texts, label: {"plot": plots})
    monkeypatch.setattr(model_diff_page, "PAGE", tmp_path / "model_diff.md")
    whole = model_diff.setting

    def setting(tuned: Path) -> Run:
        return whole(tuned).revised({**TINY, "source.texts": str(tmp_path / "texts")})

    monkeypatch.setattr(model_diff, "setting", setting)
    return tmp_path


def test_it_is_measured_by_one_command_and_not_tuned_twice(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert model_diff.main([]) == 0
    assert "tuning: step 10/10" in capsys.readouterr().err
    found = json.loads((made / "model_diff.json").read_text())
    assert found["tuning"]["last"] < found["tuning"]["first"]
    assert [(row["side"], row["seed"]) for row in found["rows"]] == [
        ("l1-0.2", 0),
        ("l1-0.2", 1),
        ("batch_topk-6", 0),
        ("batch_topk-6", 1),
    ]
    for row in found["rows"]:
        assert all(own <= looks <= row["living"] for own, looks in zip(row["own"], row["looks"], strict=True))
    page = (made / "model_diff.md").read_text()
    assert page == model_diff_page.page(found)
    assert "mean of 2\nseeds" in page
    assert model_diff.main([]) == 0
    assert "tuning" not in capsys.readouterr().err
    assert json.loads((made / "model_diff.json").read_text())["rows"] == found["rows"]


def test_the_page_is_what_the_result_says() -> None:
    found = json.loads(model_diff.RESULT.read_text(encoding="utf-8")) if model_diff.RESULT.exists() else None
    assert model_diff_page.PAGE.read_text(encoding="utf-8") == model_diff_page.page(found)
