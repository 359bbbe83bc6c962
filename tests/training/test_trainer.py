"""The loop: same bytes however it is interrupted, many dictionaries on one stream, and a stop at the first NaN."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from assay import tensor_file
from assay.activations import ActivationStore
from assay.activations.planted import Planted
from assay.dictionary import Dictionary
from assay.errors import ConfigError, CorruptData, Diverged, Interrupted, ShapeMismatch, StoreError
from assay.training import TrainConfig, train

ROWS = Planted(width=16, atoms=24, active=2.0).sample(2000, key=1)


def store(rows: torch.Tensor = ROWS, batch_size: int = 64) -> ActivationStore:
    return ActivationStore.of(rows, batch_size=batch_size, seed=3)


def build(variant: str = "gated", **settings) -> Dictionary:
    return Dictionary.registry.named(variant).Config(d_in=16, width=32, **settings).build()


def arms() -> dict[str, Dictionary]:
    return {"gated": build(), "topk": build("topk", k=3, k_aux=4)}


def settings(steps: int = 40, **changes) -> TrainConfig:
    defaults = {"dead_window": 200, "resample_at": (0.5,), "resample_dip": 5, "log_every": 5, "checkpoint_every": 10}
    return TrainConfig(steps=steps, learning_rate=1e-2, **{**defaults, **changes})


def finish(folder: Path, config: TrainConfig | None = None) -> dict[str, Dictionary]:
    trained = arms()
    list(train(trained, store(), config or settings(), folder=folder))
    return trained


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_training_lowers_the_loss() -> None:
    progress = list(train(arms(), store(), settings(steps=100, log_every=1)))
    for name in ("gated", "topk"):
        assert progress[-1].arms[name].terms["reconstruction"] < 0.6 * progress[0].arms[name].terms["reconstruction"]


def test_two_runs_of_one_seed_are_equal_to_the_byte(tmp_path: Path) -> None:
    finish(tmp_path / "a")
    finish(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("stopped_at", [5, 17, 20, 33])
def test_training_resumes_to_the_same_bytes(tmp_path: Path, stopped_at: int) -> None:
    finish(tmp_path / "whole")
    steps = iter(range(1, 1000))
    with pytest.raises(Interrupted):
        list(train(arms(), store(), settings(), folder=tmp_path / "parts", stop=lambda: next(steps) >= stopped_at))
    finish(tmp_path / "parts")
    whole, parts = contents(tmp_path / "whole"), contents(tmp_path / "parts")
    assert whole["step-00000040/gated.safetensors"] == parts["step-00000040/gated.safetensors"]
    assert whole["step-00000040/topk.safetensors"] == parts["step-00000040/topk.safetensors"]
    assert whole["progress.jsonl"] == parts["progress.jsonl"]


def test_an_abandoned_generator_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    finish(tmp_path / "whole")
    for progress in train(arms(), store(), settings(), folder=tmp_path / "parts"):
        if progress.step == 25:
            break
    finish(tmp_path / "parts")
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


def test_kill_9_then_resume_gives_the_same_bytes(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, os, signal, torch
            torch.set_num_threads(1)
            from assay.activations import ActivationStore
            from assay.activations.planted import Planted
            from assay.dictionary import Dictionary
            from assay.training import TrainConfig, train
            rows = Planted(width=16, atoms=24, active=2.0).sample(2000, key=1)
            arm = Dictionary.registry.named("gated").Config(d_in=16, width=32).build()
            config = TrainConfig(steps=30, learning_rate=1e-2, log_every=5, checkpoint_every=7)
            for p in train({"arm": arm}, ActivationStore.of(rows, batch_size=64), config, folder=sys.argv[1]):
                if len(sys.argv) > 2 and p.step == 15:
                    os.kill(os.getpid(), signal.SIGKILL)
            """
        )
    )
    run = [sys.executable, str(script)]
    subprocess.run([*run, str(tmp_path / "whole")], check=True)
    killed = subprocess.run([*run, str(tmp_path / "parts"), "kill"], check=False)
    assert killed.returncode == -signal.SIGKILL
    subprocess.run([*run, str(tmp_path / "parts")], check=True)
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


def test_a_finished_training_does_nothing(tmp_path: Path) -> None:
    first = finish(tmp_path)
    before = contents(tmp_path)
    again = arms()
    assert list(train(again, store(), settings(), folder=tmp_path)) == []
    assert contents(tmp_path) == before
    for name, dictionary in first.items():
        assert all(map(torch.equal, dictionary.state_dict().values(), again[name].state_dict().values()))


def test_dictionaries_that_share_a_stream_train_as_they_would_alone() -> None:
    together = arms()
    list(train(together, store(), settings()))
    alone = {"topk": build("topk", k=3, k_aux=4)}
    list(train(alone, store(), settings()))
    assert torch.equal(together["topk"].atoms, alone["topk"].atoms)


def test_atoms_keep_unit_norm_unless_freed() -> None:
    trained = {"gated": build(), "free": build(free_norms=True)}
    list(train(trained, store(), settings()))
    torch.testing.assert_close(trained["gated"].atoms.norm(dim=-1), torch.ones(32))
    assert (trained["free"].atoms.norm(dim=-1) - 1).abs().max() > 1e-3


def test_resampling_revives_dead_latents() -> None:
    dead = build(sparsity={"value": 0.05})
    with torch.no_grad():
        dead.get_parameter("gate_bias")[:16] = -100.0
    dead.start(ROWS)
    list(train({"arm": dead}, store(), settings(steps=20, resample_at=(0.5,), dead_window=300)))
    assert float(dead.get_parameter("gate_bias").detach()[:16].min()) > -1.0


def test_nan_in_the_data_stops_at_once_and_names_the_place() -> None:
    rows = ROWS.clone()
    rows[1234, 5] = float("nan")
    broken = store(rows)
    with pytest.raises(
        Diverged, match=r"step \d+: the activations hold NaN or infinity, first in shard \d+, row 1234"
    ) as caught:
        dictionary = build()
        dictionary.start(ROWS)
        list(train({"arm": dictionary}, broken, settings(steps=100)))
    assert caught.value.exit_code == 4


def test_a_loss_that_overflows_names_arm_and_term() -> None:
    dictionary = build()
    dictionary.start(ROWS)
    with torch.no_grad():
        dictionary.get_parameter("log_rescale").fill_(200.0)
    with pytest.raises(Diverged, match=r"the loss of arm is not finite .*reconstruction"):
        list(train({"arm": dictionary}, store(), settings()))


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    finish(tmp_path)
    with pytest.raises(ConfigError, match=r"learning_rate: 0\.01 then, 0\.02 now"):
        list(train(arms(), store(), settings().revised({"learning_rate": 0.02}), folder=tmp_path))


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    finish(tmp_path / "whole")
    for progress in train(arms(), store(), settings(), folder=tmp_path / "parts"):
        if progress.step == 35:
            break
    newest = tmp_path / "parts" / "step-00000030" / "gated.safetensors"
    data = bytearray(newest.read_bytes())
    data[-5] ^= 1
    newest.write_bytes(bytes(data))
    finish(tmp_path / "parts")
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


def test_when_every_checkpoint_is_damaged_it_says_so(tmp_path: Path) -> None:
    finish(tmp_path)
    assert len(list(tmp_path.glob("step-*"))) == 1
    for path in tmp_path.glob("step-*/gated.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptData, match=r"no checkpoint in .* is whole"):
        finish(tmp_path)


def test_a_dictionary_of_another_width_is_refused() -> None:
    wide = Dictionary.registry.named("relu").Config(d_in=17, width=32).build()
    with pytest.raises(ShapeMismatch, match="17"):
        list(train({"arm": wide}, store(), settings()))


def test_sigterm_finishes_the_step_saves_and_asks_to_be_continued(tmp_path: Path) -> None:
    from assay.training.signals import stop_requests

    with stop_requests() as stop, pytest.raises(Interrupted) as caught:
        for progress in train(arms(), store(), settings(), folder=tmp_path, stop=stop):
            if progress.step == 15:
                os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 75
    assert (tmp_path / "step-00000015").is_dir() or (tmp_path / "step-00000016").is_dir()


def test_bfloat16_products_keep_float32_masters() -> None:
    dictionary = build()
    progress = list(train({"arm": dictionary}, store(), settings(steps=60, compute_dtype="bfloat16")))
    assert dictionary.atoms.dtype == torch.float32
    assert progress[-1].arms["arm"].explained_variance > 0.5


def with_a_bad_batch(rows: torch.Tensor = ROWS, row: int = 1234) -> torch.Tensor:
    bad = rows.clone()
    bad[row, 5] = float("nan")
    return bad


def fitted() -> Dictionary:
    dictionary = build()
    dictionary.start(ROWS)
    return dictionary


def test_a_bad_step_is_left_out_and_counted() -> None:
    """The arm learns from all other steps, and its parameters are those of a training whose stream lacked that batch."""
    dictionary = fitted()
    config = settings(
        62, nonfinite="skip", nonfinite_share=0.1, log_every=1, resample_at=()
    )  # two epochs of 31 batches
    progress = list(train({"arm": dictionary}, store(with_a_bad_batch()), config))
    bad = [now.step for now in progress if now.arms["arm"].loss is None]
    assert len(bad) == 2
    assert [now.arms["arm"].nonfinite for now in progress][-1] == 2
    assert progress[bad[0] - 1].arms["arm"].explained_variance is None
    assert all(bool(torch.isfinite(tensor).all()) for tensor in dictionary.state_dict().values())


def test_too_many_bad_steps_stop_the_training() -> None:
    config = settings(62, nonfinite="skip", nonfinite_share=0.01)  # one step, and there will be two
    with pytest.raises(Diverged, match="row 1234"):
        list(train({"arm": fitted()}, store(with_a_bad_batch()), config))


def test_a_bad_arm_does_not_touch_its_neighbour() -> None:
    """One arm overflows at once, again and again; the other ends as it would alone."""
    wild = fitted()
    with torch.no_grad():
        wild.get_parameter("log_rescale").fill_(200.0)
    config = settings(nonfinite="skip", nonfinite_share=1.0, resample_at=())
    good = fitted()
    list(train({"wild": wild, "good": good}, store(), config))
    alone = fitted()
    list(train({"good": alone}, store(), config))
    assert torch.equal(good.atoms, alone.atoms)
    assert bool(torch.isfinite(wild.atoms).all())


def test_a_rollback_returns_to_the_last_checkpoint_and_goes_on(tmp_path: Path) -> None:
    config = settings(62, nonfinite="rollback", nonfinite_share=0.1, log_every=1, resample_at=())
    dictionary, bad = fitted(), []
    for progress in train({"arm": dictionary}, store(with_a_bad_batch()), config, folder=tmp_path):
        if progress.arms["arm"].loss is None:
            bad.append(progress.step)
            kept = tensor_file.read(tmp_path / f"step-{(progress.step - 1) // 10 * 10:08d}" / "arm.safetensors")
            assert torch.equal(dictionary.atoms, kept["dictionary.atoms"])
    assert len(bad) == 2
    assert progress.arms["arm"].nonfinite == 2
    assert progress.arms["arm"].explained_variance > 0.5


def test_a_rollback_by_one_step_is_a_skip(tmp_path: Path) -> None:
    trained = {}
    for policy in ("skip", "rollback"):
        config = settings(62, nonfinite=policy, nonfinite_share=0.1, checkpoint_every=1, resample_at=())
        trained[policy] = fitted()
        list(train({"arm": trained[policy]}, store(with_a_bad_batch()), config, folder=tmp_path / policy))
    assert torch.equal(trained["skip"].atoms, trained["rollback"].atoms)


@pytest.mark.parametrize("policy", ["skip", "rollback"])
@pytest.mark.parametrize("stopped_at", [3, 18, 35, 50])
def test_bad_steps_and_interruptions_together_give_the_same_bytes(tmp_path: Path, policy: str, stopped_at: int) -> None:
    config = settings(62, nonfinite=policy, nonfinite_share=0.1, checkpoint_every=7, resample_at=())
    bad = store(with_a_bad_batch())

    def whole(folder: Path) -> dict[str, bytes]:
        list(train({"arm": fitted()}, bad, config, folder=folder))
        return contents(folder)

    for progress in train({"arm": fitted()}, bad, config.revised({"log_every": 1}), folder=tmp_path / "parts"):
        if progress.step == stopped_at:
            break
    expected = whole(tmp_path / "whole")
    found = whole(tmp_path / "parts")
    tensors = [name for name in expected if name.endswith(".safetensors")]
    assert tensors
    assert all(expected[name] == found[name] for name in tensors)


def test_a_rollback_without_a_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="rollback"):
        list(train(arms(), store(), settings(nonfinite="rollback")))


def test_a_damaged_log_is_seen_before_training_goes_on(tmp_path: Path) -> None:
    finish(tmp_path)
    log = tmp_path / "progress.jsonl"
    data = bytearray(log.read_bytes())
    data[20] ^= 1
    log.write_bytes(bytes(data))
    with pytest.raises(CorruptData, match=r"progress.jsonl is not as it was written"):
        finish(tmp_path)


def test_a_checkpoint_without_its_manifest_is_replaced(tmp_path: Path) -> None:
    finish(tmp_path / "whole")
    for progress in train(arms(), store(), settings(), folder=tmp_path / "parts"):
        if progress.step == 35:
            break
    (tmp_path / "parts" / "step-00000030" / "MANIFEST.json").unlink()
    finish(tmp_path / "parts")
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


def test_two_trainings_in_one_folder_are_refused(tmp_path: Path) -> None:
    first = train(arms(), store(), settings(), folder=tmp_path)
    next(first)
    with pytest.raises(StoreError, match="one writer"):
        next(train(arms(), store(), settings(), folder=tmp_path))
    first.close()
    finish(tmp_path)


def test_what_learns_nothing_is_looked_at_in_logged_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The codes of a baseline such as NMF may cost more than a step of all others; its neighbours end as they would without it."""
    baseline, beside = Dictionary.registry.named("pca").Config(d_in=16, k=4).build(), fitted()
    asked, losses = [], baseline.losses
    monkeypatch.setattr(baseline, "losses", lambda step: asked.append(step.progress) or losses(step))
    progress = list(train({"pca": baseline, "gated": beside}, store(), settings(40)))
    assert asked == [step / 40 for step in (4, 9, 14, 19, 24, 29, 34, 39)]
    assert [now.arms["pca"].dead for now in progress] == [None] * 8
    assert progress[-1].arms["pca"].explained_variance > 0.3
    alone = fitted()
    list(train({"gated": alone}, store(), settings(40)))
    assert torch.equal(beside.atoms, alone.atoms)


def test_a_baseline_starts_at_each_place_of_its_dial_as_it_would_alone() -> None:
    variant = Dictionary.registry.named("ica")
    made = {f"{k}-{seed}": variant.Config(d_in=16, k=k, seed=seed).build() for seed in (0, 1) for k in (2, 4)}
    list(train(made, store(), settings(1)))
    for seed in (0, 1):
        alone = variant.Config(d_in=16, k=4, seed=seed).build()
        list(train({"alone": alone}, store(), settings(1)))
        assert all(torch.equal(made[f"{k}-{seed}"].encoder, alone.encoder) for k in (2, 4))
    assert not torch.equal(made["2-0"].encoder, made["2-1"].encoder)


def test_a_baseline_is_fitted_once_for_all_places_of_its_dial_and_anew_for_another_width(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variant, fits = Dictionary.registry.named("ica"), []
    start = variant.start_from
    monkeypatch.setattr(variant, "start_from", lambda self, x: fits.append(self.config) or start(self, x))
    configs = [variant.Config(d_in=16, k=k, width=width) for k in (2, 4, 12) for width in (8, 16) if k <= width]
    list(train({str(place): config.build() for place, config in enumerate(configs)}, store(), settings(1)))
    assert fits == configs[:2]
