"""Every variant trains on several ranks as in one process: the same batches to the bit, the same losses and parameters to rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from assay.activations import ActivationStore
from assay.activations.planted import Planted
from assay.dictionaries.relu import ReLU
from assay.dictionary import Dictionary, Pass, Weight
from assay.errors import ConfigError, Diverged
from assay.ops import forced
from assay.training import TrainConfig, train

ROWS = Planted(width=16, atoms=24, active=2.0).sample(2000, key=1)
KEEP_K = ("abs_topk", "batch_topk", "batch_topk_crosscoder", "matryoshka", "meta", "multi_topk", "topk")
SMALL = {
    **{name: {"k": 2, "k_aux": 4} for name in KEEP_K},
    "gated": {"sparsity": {"value": 1.5}},
    "gated_anneal": {"sparsity": {"value": 1.5}, "p_end": 0.9},
    "gated_untied": {"sparsity": {"value": 1.5}},
    "jumprelu": {"sparsity": {"value": 0.3}, "bandwidth": 0.8},
    "p_anneal": {"sparsity": {"value": 1.2}, "p_end": 0.9},
    "relu": {"sparsity": {"value": 1.2}},
    "rescaled_relu": {"sparsity": {"value": 1.2}},
    "sign_aware_gated": {"sparsity": {"value": 1.5}},
    "pursuit": {"k": 2},
    "rotation": {"k": 2},
    "switch": {"k": 2},
}
SETTLED = {name: {"resample_at": ()} for name in ("pursuit", "rotation")}
"""A search, and axes at right angles, have no use for latents that begin anew."""
EXACT = {name: {"resample_at": ()} for name in (*KEEP_K, "switch", *SETTLED)}
"""Two latents that are pointed at one row tie, and outside the kernels rounding decides a tie: no resampling to so many in float64."""
TRAIN = {"learning_rate": 1e-2, "dead_window": 64, "resample_at": (0.7,), "resample_dip": 5, "log_every": 1}
LAYOUTS = [
    pytest.param((2, 1), id="2 data ranks"),
    pytest.param((2, 2), id="2 shards"),
    pytest.param((4, 1), id="4 data ranks", marks=pytest.mark.four_ranks),
    pytest.param((4, 2), id="2 data ranks of 2 shards", marks=pytest.mark.four_ranks),
    pytest.param((4, 4), id="4 shards", marks=pytest.mark.four_ranks),
]
VARIANTS = [
    name
    for name in Dictionary.registry.names()
    if Dictionary.registry.named(name).Config().resized(d_in=8, width=16).build().learns()
]


def unregistered(define: Callable[[], type[Dictionary]]) -> type[Dictionary]:
    """A variant that no other test meets."""
    known = dict(Dictionary.registry._members)
    try:
        return define()
    finally:
        Dictionary.registry._members = known


def define_regularised() -> type[Dictionary]:
    class Regularised(ReLU, name="regularised", paper="none"):
        """ReLU with a term that is a function of parameters alone, which a variant may have too."""

        class Config(ReLU.Config):
            dial: ClassVar[str] = "sparsity.value"
            decay: Weight = Weight(value=0.01)

        def losses(self, step) -> Pass:
            made = super().losses(step)
            return replace(made, terms={**made.terms, "decay": self.encoder.square().sum()})

    return Regularised


def define_partial() -> type[Dictionary]:
    class Partial(ReLU, name="partial", paper="none"):
        """A mistake: a sum over the latents that are here, where one over all was meant, with a factor that learns."""

        class Config(ReLU.Config):
            dial: ClassVar[str] = "sparsity.value"

        def __init__(self, config) -> None:
            super().__init__(config)
            self.tilt = torch.nn.Parameter(torch.ones(()))

        def losses(self, step) -> Pass:
            made = super().losses(step)
            return replace(made, terms={**made.terms, "sparsity": self.tilt * made.codes.values.sum()})

    return Partial


REGULARISED, PARTIAL = unregistered(define_regularised), unregistered(define_partial)


@dataclass(frozen=True)
class Case:
    """One training."""

    variant: str | type[Dictionary]
    settings: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    double: bool = False
    sparse: bool = False

    @property
    def tolerance(self) -> float:
        """Largest difference, as a share of the largest number: bfloat16 has three digits."""
        return 1e-12 if self.double else 0.05 if "compute_dtype" in self.train else 1e-5

    @property
    def divisible(self) -> bool:
        """Whether its latents may be spread."""
        return not isinstance(self.variant, str) or Dictionary.registry.named(self.variant).divisible

    def run(self, shards: int = 1) -> dict[str, Tensor]:
        """What every step measured, which rows this rank saw, and the dictionary in the end."""
        variant = Dictionary.registry.named(self.variant) if isinstance(self.variant, str) else self.variant
        shaped = variant.Config().resized(d_in=16, width=48)
        dictionary = shaped.revised({**SMALL.get(variant.name, {}), **self.settings}).build()
        dictionary = dictionary.double() if self.double else dictionary
        seen: list[Tensor] = []
        losses = dictionary.losses

        def watched(step):
            seen.append(step.x.clone())
            return losses(step)

        dictionary.losses = watched
        config = TrainConfig(**{"steps": 32, **TRAIN, **self.train, "latent_shards": shards})
        store = ActivationStore.of(ROWS, batch_size=64, seed=3)
        with forced(crossover=1.0) if self.sparse else nullcontext():
            measured = [progress.arms["arm"] for progress in train({"arm": dictionary}, store, config)]
        result = {
            "measured loss": torch.tensor([arm.loss for arm in measured]),
            "measured L0": torch.tensor([arm.l0 for arm in measured]),
            "measured variance": torch.tensor([arm.explained_variance for arm in measured]),
            "measured dead": torch.tensor([arm.dead for arm in measured]),
            "seen": torch.stack(seen),
        }
        for term in measured[0].terms:
            result[f"measured {term}"] = torch.tensor([arm.terms[term] for arm in measured])
        return result | {name: tensor.detach().clone() for name, tensor in dictionary.state_dict().items()}


AT_ONCE = 8
"""Cases that a group of processes runs before it counts as hanging."""
CASES = {
    **{f"{name}, float32": Case(name, train=SETTLED.get(name, {}), sparse=True) for name in VARIANTS},
    **{f"{name}, float64": Case(name, train=EXACT.get(name, {}), double=True, sparse=True) for name in VARIANTS},
    "dense, then sparse": Case("gated"),
    "clipped": Case("gated", train={"clip_norm": 0.05}),
    "bfloat16": Case("gated", train={"compute_dtype": "bfloat16"}),
    "first moments": Case("gated", train={"beta1": 0.9}, sparse=True),
    "free atoms": Case("gated", {"unfrozen": True, "free_norms": True}, double=True),
    "a penalty on parameters": Case(REGULARISED, double=True),
}


@pytest.fixture(scope="module")
def alone() -> dict[str, dict[str, Tensor]]:
    """Every case in one process."""
    return {name: case.run() for name, case in CASES.items()}


@pytest.fixture(scope="module", params=LAYOUTS)
def spread(request, together, tmp_path_factory) -> tuple[int, dict[str, list[dict[str, Tensor]]]]:
    """How many shards, and every case on several ranks: the results of each."""
    (world, shards), folder = request.param, tmp_path_factory.mktemp("spread")

    numbered = [(number, case) for number, case in enumerate(CASES.values()) if shards == 1 or case.divisible]
    for first in range(0, len(numbered), AT_ONCE):

        def work(rank: int, some: Sequence[tuple[int, Case]] = numbered[first : first + AT_ONCE]) -> None:
            for number, case in some:
                save_file(case.run(shards), folder / f"{number}-{rank}.safetensors")

        together(world, work)
    results = {
        name: [load_file(folder / f"{number}-{rank}.safetensors") for rank in range(world)]
        for number, (name, case) in enumerate(CASES.items())
        if shards == 1 or case.divisible
    }
    return shards, results


def near(got: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    gap = (got - expected).abs().max().item() / max(expected.abs().max().item(), 1e-30)
    assert gap <= tolerance, f"{what}: off by {gap:.2g} of its largest number"


def skip_unless_spread(name: str, results: Mapping[str, Any]) -> None:
    if name not in results:
        assert not CASES[name].divisible
        pytest.skip("its latents stay together")


@pytest.mark.parametrize("name", CASES)
def test_losses_and_parameters_are_those_of_one_process(name, alone, spread):
    _, results = spread
    skip_unless_spread(name, results)
    for key, expected in alone[name].items():
        if key != "seen":
            near(results[name][0][key], expected, CASES[name].tolerance, key)


@pytest.mark.parametrize("name", CASES)
def test_batches_are_those_of_one_process_to_the_bit(name, alone, spread):
    shards, results = spread
    skip_unless_spread(name, results)
    parts = [result["seen"] for result in results[name]]
    assert torch.equal(torch.cat(parts[::shards], dim=1), alone[name]["seen"])
    for number, part in enumerate(parts):
        assert torch.equal(part, parts[number - number % shards])


@pytest.mark.parametrize("name", CASES)
def test_every_rank_ends_with_the_whole_dictionary(name, spread):
    skip_unless_spread(name, spread[1])
    first, *others = spread[1][name]
    for other in others:
        for key in first:
            assert key == "seen" or torch.equal(first[key], other[key]), key


def test_the_cases_have_dead_latents_and_learn_from_them(alone):
    for name in ("gated, float64", "topk, float64", "batch_topk, float64"):
        assert alone[name]["measured dead"].max() > 0, name
    assert alone["topk, float64"]["measured auxk"].max() > 0


# What is refused.


def build(variant: str = "gated", width: int = 32, **settings: Any) -> Dictionary:
    return Dictionary.registry.named(variant).Config(d_in=16, width=width, **settings).build()


def one_step(dictionary: Dictionary, **settings: Any) -> None:
    store = ActivationStore.of(ROWS, batch_size=settings.pop("batch_size", 64), seed=3)
    list(train({"arm": dictionary}, store, TrainConfig(steps=1, **settings)))


def test_what_does_not_divide_is_refused_on_every_rank(together):
    def work(rank):
        with pytest.raises(ConfigError, match="batches of 63 rows for 2 data ranks"):
            one_step(build(), batch_size=63)
        with pytest.raises(ConfigError, match="33 latents, to be held in 2 shards"):
            one_step(build(width=33), latent_shards=2)
        with pytest.raises(ConfigError, match="latent_shards is 3, and there are 2 processes"):
            one_step(build(), latent_shards=3)

    together(2, work)


@pytest.mark.parametrize("name", [name for name in VARIANTS if not Dictionary.registry.named(name).divisible])
def test_latents_that_must_stay_together_are_refused_in_shards(name, together):
    def work(rank):
        dictionary = Dictionary.registry.named(name).Config().resized(d_in=16, width=32).build()
        with pytest.raises(ConfigError, match="to be held in 2 shards"):
            one_step(dictionary, latent_shards=2)

    together(2, work)


def test_ranks_with_other_settings_or_numbers_are_found_before_the_first_step(together):
    def work(rank):
        with pytest.raises(ConfigError, match="different settings"):
            one_step(build(), learning_rate=1e-3 * (1 + rank))
        nudged = build()
        with torch.no_grad():
            nudged.get_parameter("encoder")[3, 4] += rank * 1e-6
        with pytest.raises(Diverged, match=r"dictionary\.encoder is not the same on all ranks"):
            one_step(nudged)

    together(2, work)


def test_a_variant_that_forgets_the_other_shards_is_found_at_the_next_checkpoint(together, tmp_path):
    def work(rank):
        dictionary = PARTIAL.Config(d_in=16, width=32).build()
        store = ActivationStore.of(ROWS, batch_size=64, seed=3)
        config = TrainConfig(steps=20, latent_shards=2, checkpoint_every=5)
        with pytest.raises(Diverged, match="tilt is not the same on all ranks"):
            list(train({"arm": dictionary}, store, config, folder=tmp_path))

    together(2, work)


def test_nan_is_found_by_all_ranks_and_placed_alike(together):
    rows = ROWS.clone()
    rows[1234, 5] = float("nan")

    def work(rank):
        dictionary = build()
        dictionary.start(ROWS)
        broken = ActivationStore.of(rows, batch_size=64, seed=3)
        with pytest.raises(Diverged, match="row 1234"):
            list(train({"arm": dictionary}, broken, TrainConfig(steps=100)))
        overflowing = build()
        overflowing.start(ROWS)
        with torch.no_grad():
            overflowing.get_parameter("log_rescale").fill_(200.0)
        with pytest.raises(Diverged, match="the loss of arm is not finite"):
            one_step(overflowing)

    together(2, work)


def test_gradients_travel_as_factors_when_sparse_and_as_tables_when_that_is_less(together, monkeypatch):
    """What is sent is agreed on first, so that ranks of different density can share a batch."""
    from assay.training import gradients

    def work(rank):
        sent: list[str] = []
        add_up, stacked = gradients.Ranks.add_up, gradients.Factors.over
        monkeypatch.setattr(
            gradients.Ranks, "add_up", lambda self, t: (sent.append(f"table {t.ndim}"), add_up(self, t))[1]
        )
        monkeypatch.setattr(gradients.Factors, "over", lambda *a: (sent.append("factors"), stacked(*a))[1])
        tables, factors = {"table 2", "table 1"}, {"factors", "table 1"}
        few = {"variant": "topk", "width": 512, "k": 3}  # the gated one begins with half of its latents active
        for crossover, settings, kinds in [(1.0, few, factors), (0.0, few, tables), (1.0, {"width": 512}, tables)]:
            sent.clear()
            with forced(crossover=crossover):
                one_step(build(**settings))
            assert set(sent) == kinds
        sent.clear()
        with forced(crossover=1.0 if rank else 0.0):
            one_step(build(**few))
        assert set(sent) == tables

    together(2, work)
