"""What is said of products, crossings and screens follows from the rows; the screened select is exact where it promises to be."""

from __future__ import annotations

import math
from itertools import chain

import pytest
import torch

from assay.ops import kernels
from benchmarks import crossover, products, screening, studies

PLACE = {"d": 8, "width": 64, "batch": 16}


def product(name: str, units: float, setting: str = "", code: str = "") -> dict:
    return {"product": name, "setting": setting, **PLACE, "median_ms": 100 * units, "low_ms": 1.0, "high_ms": 2.0, "units": units,
            "gflops": 50 / units, "threads": 2, "code": code, "runs": 5}  # fmt: skip


def step(path: str, density: float, ms: float) -> dict:
    return {"path": path, "density": density, **PLACE, "malloc": "default", "median_ms": ms, "units": ms / 10}


def screen(k: int, z: float, most: int, ms: float, missed: float) -> dict:
    return {"what": "screened", "k": k, "z": z, "most": most, **PLACE, "median_ms": ms, "units": ms / 10, "of_exact": ms / 5,
            "missed": missed, "candidates": 0.05, "blocks_with_candidate": 1.0, "blocks_whole": 0.0, "l0": 9.0,
            "reconstruction_error": 2e-3}  # fmt: skip


def other(what: str, ms: float) -> dict:
    return {"what": what, **PLACE, "median_ms": ms, "units": ms / 10, "of_exact": ms / 5}


@pytest.mark.parametrize(
    ("ours", "dense", "at"),
    [
        ((1, 2, 3), (4, 4, 4), None),
        ((1, 3, 5), (2, 2, 2), 0.15),
        ((5, 6, 7), (4, 4, 4), 0.0),
        ((5, 1, 3), (4, 2, 2), 0.25),
    ],
)
def test_paths_cross_where_their_lines_do(ours, dense, at):
    found = crossover.crossing((0.1, 0.2, 0.3), ours, dense)
    assert found is None if at is None else found == pytest.approx(at)


def test_a_slow_machine_is_measured_again_and_the_best_is_kept():
    answers = {"a": [2.0, 1.5, 1.1], "b": [1.0]}
    asked = []

    def run(point: str) -> float:
        asked.append(point)
        return answers[point].pop(0)

    kept = dict(crossover.calmly(["a", "b"], run, lambda seconds: seconds))
    assert kept == {"a": 1.1, "b": 1.0}
    assert asked == ["a", "b", "a", "a"]


def test_what_fails_is_said_and_left_out(capsys: pytest.CaptureFixture[str]):
    def run(point: str) -> float:
        if point == "bad":
            raise RuntimeError("no such thing")
        return 1.0

    assert dict(crossover.calmly(["bad", "good"], run, lambda seconds: seconds, tries=1)) == {"good": 1.0}
    assert "no such thing" in capsys.readouterr().err


def test_every_product_is_the_same_product():
    from benchmarks.workload import Shape, synthetic

    given = synthetic(Shape(16, 96, 64), 8, batches=1)
    made = products.tasks(("torch.mm", *chain.from_iterable(products.SETTINGS[""])), given)
    whole = given.rows[:64] @ given.start.encoder.T
    for name in ("torch.mm", "oneDNN", "numpy", "scipy"):
        if name in made:
            torch.testing.assert_close(torch.as_tensor(made[name]()).reshape(64, -1) if name != "scipy" else torch.as_tensor(
                made[name]().T.copy()), whole, atol=1e-5, rtol=1e-4)  # fmt: skip
    offsets, latents, values = made["assay"]()
    rows = torch.repeat_interleave(offsets.diff())
    torch.testing.assert_close(values, whole[rows, latents], atol=1e-5, rtol=1e-4)


def test_products_are_said_against_ours():
    rows = [product("torch.mm", 1.0), product("torch.mm, reused output", 0.8), product("numpy", 0.4, code="SkylakeX"),
            product("assay", 0.5, code="16 lanes"), product("assay", 0.7, "AVX2", "8 lanes")]  # fmt: skip
    said = studies.products(rows)
    assert "| numpy | SkylakeX | 40 | 125 | 0.40 |" in said
    assert "takes 0.50 of torch.mm with a fresh output and 0.62 of" in said
    assert "that of numpy, 125 GFLOP/s; ours, select included, takes 1.25 of its time" in said
    assert "Compiled for AVX2 alone ours takes 0.70" in said


def test_the_crossing_is_said_for_each_path():
    rows = [step(path, density, ms) for path, density, ms in
            [("kernels", 0.2, 10), ("kernels", 0.4, 40), ("portable", 0.2, 30), ("portable", 0.4, 60), ("dense", 0.2, 25),
             ("dense", 0.4, 25)]]  # fmt: skip
    rows += crossover.crossings(rows, crossover.Shape(**PLACE), "default")
    said = studies.crossover(rows)
    assert "| 0.2 | 1.0 | 3.0 | 2.5 |" in said
    assert "the dense path is cheaper than kernels: 0.30 at 8×64, B 16." in said
    assert "the dense path is cheaper than portable: 0.00 at 8×64, B 16." in said
    assert "takes 0.40 to 0.40 of the dense one" in said


def test_screens_are_called_faster_by_more_than_a_tenth_only():
    rows = [other("exact", 5.0), other("rotate rows", 1.0), other("rotate encoder", 2.0), screen(2, 3, 8, 4.0, 5e-3),
            screen(2, 3, 16, 4.5, 5e-3), screen(4, 4, 8, 4.9, 1e-5)]  # fmt: skip
    said = studies.screening(rows)
    assert "The fastest screen (k = 2, z = 3) takes 0.80 of that, faster, misses 0.50 %" in said
    assert "under 0.1 % (k = 4, z = 4) takes 0.98 of that, not faster by a tenth, misses 0.001 %" in said
    assert "would cost 0.30, more than that" in said
    assert len(studies.best_screens(rows)) == 2


def test_trainings_are_compared_within_the_spread_of_seeds():
    def ending(k: int, z: float, seed: int, l0: float) -> dict:
        return {"what": "trained", "k": k, "z": z, **PLACE, "seed": seed, "steps": 3, "l0": l0, "explained_variance": 0.5 + seed / 100,
                "step_ms": 7.0}  # fmt: skip

    rows = [ending(8, 0, seed, 60 + seed) for seed in (0, 1)] + [ending(4, 4, seed, 60.2 + seed) for seed in (0, 1)]
    rows += [ending(2, 3, seed, 70 + seed) for seed in (0, 1)]
    said = studies.screening(rows)
    assert "with k = 4, z = 4 ends within the spread" in said
    assert "with k = 2, z = 3 does not end within" in said


@pytest.mark.parametrize("most", [0, 20, screening.NEVER])
def test_a_screen_without_bound_selects_exactly(most: int):
    generator = torch.Generator().manual_seed(0)
    x, encoder = torch.randn(70, 32, generator=generator), torch.randn(150, 32, generator=generator)
    high = torch.full((150,), 8.0)
    (entries, tally) = screening.select(x, encoder, high, screening.Screen(12, math.inf, most), 70 * 150)
    expected = kernels.outside(x, torch.zeros(32), encoder, high, torch.full((150,), -torch.inf), 70 * 150)
    for one, same in zip(entries[:2], expected[:2], strict=True):
        assert torch.equal(one, same)
    torch.testing.assert_close(entries[2], expected[2])
    assert int(tally[0]) == 70 * 150


def test_a_screen_keeps_only_exact_entries():
    generator = torch.Generator().manual_seed(1)
    x, encoder = torch.randn(64, 32, generator=generator), torch.randn(96, 32, generator=generator)
    high = torch.full((96,), 8.0)
    (offsets, latents, values), tally = screening.select(x, encoder, high, screening.Screen(16, 2), 64 * 96)
    rows, whole = torch.repeat_interleave(offsets.diff()), x @ encoder.T
    assert 0 < len(latents) <= int((whole > high).sum())
    assert int(tally[0]) < 64 * 96
    torch.testing.assert_close(values, whole[rows, latents])


def test_the_basis_has_the_largest_component_first():
    rows = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5.0, 0.1, 2.0])
    mean, components = screening.basis(rows)
    deviations = ((rows - mean) @ components).std(0)
    assert deviations.tolist() == sorted(deviations.tolist(), reverse=True)
    torch.testing.assert_close(components.T @ components, torch.eye(4), atol=1e-5, rtol=0)
