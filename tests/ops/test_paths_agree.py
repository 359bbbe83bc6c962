"""Every registered dictionary learns the same on every path: float32 kernels and PyTorch against dense autograd in float64.

Where a pre-activation lies on a bound, rounding may choose another support; so the reference takes over the support of the path that
is tested (`replayed`), and one test says that without ties it would have chosen the same.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature

import pytest
import torch

from assay import ops
from assay.activations import ActivationStore
from assay.activations.planted import Planted
from assay.codes import DenseSupport, SparseCodes
from assay.dictionary import Dictionary, Step
from assay.ops import forced
from assay.ops.adam import Moments, adam
from assay.ops.gradient import Factors
from assay.training import TrainConfig, train
from assay.training.optimizer import UnitNormAdam

ROWS, LATENTS, WIDTH = 50, 97, 13
TOLERANCE = 1e-5
"""Of the largest entry of each gradient."""
SMALL = {"k": 4, "k_aux": 7, "bandwidth": 0.5, "steepness": 0.01, "freeze_at": 1.0, "p_end": 0.9, "seed": 3}
VARIANTS = {name: (name, {}) for name in Dictionary.registry.names()} | {
    "gated, unfrozen": ("gated", {"unfrozen": True, "free_norms": True})
}
TABLES = {"gated, unfrozen": ["atoms"], "jumprelu_tanh": ["atoms", "encoder"]}
"""Parameters that also have a gradient that is no factor: of a norm, or of a sum over all latents."""
DEAD = torch.arange(LATENTS) % 4 == 1
RULES = [name for name in ops.__all__ if name.startswith("select_")]

every_variant = pytest.mark.parametrize("variant", VARIANTS)
every_path = pytest.mark.parametrize("path", ["kernels", "portable"])


def build(variant, width=LATENTS, d_in=WIDTH):
    name, settings = VARIANTS[variant]
    config = Dictionary.registry.named(name).Config
    small = {key: value for key, value in SMALL.items() if key in config.model_fields}
    return config(d_in=d_in, width=width, **small, **settings).build()


def biases(dictionary):
    """Parameters that shift pre-activations: the lower, the less fires. Of a two-sided threshold |t| counts."""
    named = dictionary.per_latent_parameters()
    return [p for name, p in named.items() if (p.ndim == 1 and "bias" in name) or name == "threshold"]


def normal(shape, key):
    return torch.randn(shape, generator=torch.Generator().manual_seed(key))


def generic(variant):
    """Parameters of which no two are alike, and a target that is not the input; about one latent in six fires."""
    dictionary = build(variant)
    with torch.no_grad():
        for key, (name, parameter) in enumerate(dictionary.named_parameters()):
            noise = normal(parameter.shape, key + 1)
            parameter.copy_(
                noise / WIDTH**0.5 if name == "atoms" or ("encoder" in name and noise.ndim == 2) else 0.3 * noise - 0.3
            )
        for bias in biases(dictionary):
            bias.sub_(0.7).clamp_(max=-0.05)
        dictionary.normalize_atoms()
    return dictionary, Step(normal((ROWS, WIDTH), 10), normal((ROWS, WIDTH), 11), DEAD)


def silent_rows(variant):
    dictionary, step = generic(variant)
    x = step.x.clone()
    x[::3] = dictionary.decoder_bias.detach()
    return dictionary, replace(step, x=x)


def dense_rows(variant):
    """Three rows that fire every latent."""
    dictionary, step = generic(variant)
    with torch.no_grad():
        encoder = getattr(dictionary, "encoder", dictionary.atoms)
        encoder[:, 0] = encoder[:, 0].abs() + 0.5
    x = step.x.clone()
    x[5:8, 0] = 20
    return dictionary, replace(step, x=x)


def only_the_dead_fire(variant):
    dictionary, step = generic(variant)
    with torch.no_grad():
        for bias in biases(dictionary):
            bias[~DEAD] -= 100
    return dictionary, step


def everything_dead(variant):
    dictionary, step = generic(variant)
    return dictionary, replace(step, dead=torch.ones_like(DEAD))


def nothing_fires(variant):
    dictionary, step = generic(variant)
    with torch.no_grad():
        for bias in biases(dictionary):
            bias -= 100
    return dictionary, step


def nobody_counts(variant):
    dictionary, step = generic(variant)
    return dictionary, replace(step, dead=None)


def ties(variant):
    """Whole numbers: many pre-activations are equal, and many lie on their bound."""
    dictionary, step = generic(variant)
    with torch.no_grad():
        for parameter in dictionary.parameters():
            parameter.copy_((2 * normal(parameter.shape, 20)).round())
        for name, parameter in dictionary.named_parameters():
            if name.startswith("log_"):
                parameter.zero_()
        for bias in biases(dictionary):
            bias.clamp_(-3, 3).sub_(12)
    return dictionary, replace(step, x=(2 * step.x).round(), target=(2 * step.target).round())


CASES = [
    generic,
    silent_rows,
    dense_rows,
    only_the_dead_fire,
    everything_dead,
    nothing_fires,
    nobody_counts,
    ties,
]


@contextmanager
def swapped(change):
    """Every rule of selection changed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in RULES:
            patch.setattr(ops, name, change(getattr(ops, name)))
        yield


def mask_of(support):
    if isinstance(support, DenseSupport):
        return support.mask
    return SparseCodes(torch.ones(len(support.indices)), support).to_dense() != 0


def recorded(masks):
    def change(rule):
        def select(*arguments, **named):
            codes = rule(*arguments, **named)
            masks.append(mask_of(codes.support))
            return codes

        return select

    return change


def replayed(masks):
    """Rules that keep the dense product where the recorded ones kept it."""

    def change(rule):
        def select(*arguments, **named):
            bound = signature(rule).bind(*arguments, **named).arguments
            product = (bound["x"] - bound.get("center", 0)) @ bound["encoder"].T
            support = DenseSupport(masks.pop(0))
            return SparseCodes(support.confine(product), support)

        return select

    return change


def doubled(dictionary, step):
    return copy.deepcopy(dictionary).double(), replace(step, x=step.x.double(), target=step.target.double())


def gradients(dictionary, step):
    """Codes, terms, and the gradient of every term for every parameter."""
    made, parameters = dictionary.losses(step), dict(dictionary.named_parameters())
    found = {}
    for term, value in made.terms.items():
        if value.requires_grad:
            all_of_it = torch.autograd.grad(value, [*parameters.values()], retain_graph=True, materialize_grads=True)
            found |= {(term, name): gradient for name, gradient in zip(parameters, all_of_it, strict=True)}
    return made.codes.to_dense(), made.terms, found


@every_path
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.replace("_", " "))
@every_variant
def test_every_gradient_is_that_of_dense_autograd_in_float64(variant, case, path):
    dictionary, step = case(variant)
    masks = []
    with forced(path, crossover=1.0), swapped(recorded(masks)):
        codes, terms, found = gradients(dictionary, step)
    assert masks
    with forced("dense"), swapped(replayed(masks)):
        true_codes, true_terms, expected = gradients(*doubled(dictionary, step))
    assert masks == [], "the reference selects as often"
    assert torch.equal(codes != 0, true_codes != 0)
    for name, term in true_terms.items():
        torch.testing.assert_close(terms[name].double(), term, rtol=TOLERANCE, atol=0)
    assert found.keys() == expected.keys()
    for which, gradient in expected.items():
        difference = float((found[which] - gradient).abs().max())
        assert difference <= TOLERANCE * float(gradient.abs().max()), which


@every_path
@pytest.mark.parametrize("case", CASES[:-1], ids=lambda case: case.__name__.replace("_", " "))
@every_variant
def test_without_ties_every_path_chooses_the_support_of_the_dense_table(variant, case, path):
    dictionary, step = case(variant)
    chosen = []
    for one, crossover, (learner, given) in (
        (path, 1.0, (dictionary, step)),
        ("dense", 0.0, doubled(dictionary, step)),
    ):
        masks = []
        with forced(one, crossover=crossover), swapped(recorded(masks)):
            learner.losses(given)
        chosen.append(masks)
    assert len(chosen[0]) == len(chosen[1]) > 0
    assert all(map(torch.equal, *chosen))


@every_variant
def test_the_cases_are_what_they_say(variant):
    if not biases(build(variant)):
        pytest.skip("no bias can silence it")
    with forced("portable", crossover=1.0):
        fired = {case.__name__: dictionary.losses(step).codes for case in CASES for dictionary, step in [case(variant)]}
    assert 0.02 < fired["generic"].l0().mean() / LATENTS < 0.35
    silent = torch.arange(ROWS) % 3 == 0
    assert not fired["silent_rows"].l0()[silent].any()
    assert fired["silent_rows"].l0()[~silent].any()
    assert fired["only_the_dead_fire"].firings()[DEAD].any()
    assert not fired["only_the_dead_fire"].firings()[~DEAD].any()
    assert not fired["nothing_fires"].l0().any()
    if "k" not in type(build(variant).config).model_fields:
        magnitudes_may_be_zero = 0.4 if "untied" in variant else 0.6 if "gated" in variant else 1.0
        assert (fired["dense_rows"].l0()[5:8] >= magnitudes_may_be_zero * LATENTS).all()
    values = fired["ties"].entries()[2]
    assert len(values.unique()) < len(values) / 2


def three_steps(variant, path, gather, beta1):
    dictionary, step = generic(variant)
    optimizer = UnitNormAdam(dictionary, beta1, 0.99)
    with forced(path, crossover=1.0):
        for _ in range(3):
            made = dictionary.losses(step)
            loss = torch.stack(list(made.terms.values())).sum()
            if gather:
                with optimizer.gathering():
                    loss.backward()
                kept = {id(p): p.grad for p in (dictionary.atoms, getattr(dictionary, "encoder", dictionary.atoms))}
                assert all(optimizer.factors[key] for key in kept)
                tables = [name for name, p in dictionary.named_parameters() if id(p) in kept and p.grad is not None]
                assert tables == TABLES.get(variant, [])
            else:
                loss.backward()
                assert dictionary.atoms.grad is not None
            optimizer.step(1e-2)
    return dict(dictionary.named_parameters()) | {name: tensor.float() for name, tensor in optimizer.state()}


@pytest.mark.parametrize("beta1", [0.0, 0.9])
@every_path
@every_variant
def test_gathered_factors_teach_what_tables_teach(variant, path, beta1):
    gathered, plain = (three_steps(variant, path, gather, beta1) for gather in (True, False))
    assert gathered.keys() == plain.keys()
    for name, tensor in plain.items():
        scale = float(tensor.detach().abs().max())
        torch.testing.assert_close(
            gathered[name], tensor, rtol=1e-4, atol=1e-5 * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


@every_path
@pytest.mark.parametrize("table", [False, True], ids=["two factors", "two factors and a table"])
def test_several_factors_and_a_table_are_summed(path, table):
    generator = torch.Generator().manual_seed(0)
    start = torch.randint(-3, 4, (LATENTS, WIDTH), generator=generator).float()
    factors = []
    for key in (1, 2):
        codes = SparseCodes.dense((normal((ROWS, LATENTS), key) * (normal((ROWS, LATENTS), key + 7) > 1)).round())
        sparse = codes.to_csr()
        factors.append(Factors(sparse.support, sparse.values, (2 * normal((ROWS, WIDTH), key + 5)).round()))
    more = start.flip(0) if table else None
    whole = sum(each.table() for each in factors) + (0 if more is None else more)
    results = []
    for grad, parts in ((more, factors), (whole, [])):
        parameter, moments = start.clone(), Moments.of(start, 0.9)
        with forced(path):
            adam(parameter, grad, parts, moments, rate=0.1, beta1=0.9, beta2=0.99, step=1, unit=False)
        results.append((parameter, moments.square, moments.mean))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-6)


@every_path
def test_a_parameter_that_is_a_transposed_view_learns_like_any_other(path):
    codes = SparseCodes.dense((normal((ROWS, LATENTS), 1) > 1).float()).to_csr()
    factors = [Factors(codes.support, codes.values, normal((ROWS, WIDTH), 2))]
    start, moved = normal((LATENTS, WIDTH), 3), []
    for parameter in (start.clone(), start.T.contiguous().T):
        moments = Moments.of(parameter, 0.0)
        with forced(path):
            adam(parameter, None, factors, moments, rate=0.1, beta1=0.0, beta2=0.99, step=1, unit=True)
        moved.append(parameter)
    torch.testing.assert_close(*moved)


TRAJECTORY = 1e-4
"""Largest difference between the ends of two trainings, as a share of each parameter's largest entry: rounding that 60 steps amplify."""


@every_variant
def test_a_training_on_kernels_ends_where_a_dense_one_ends(variant):
    planted = Planted(width=WIDTH, atoms=20, active=2.0)
    ends = []
    for path in ("kernels", "dense"):
        dictionary = build(variant, width=48)
        store = ActivationStore.of(planted.sample(4000, key=1), batch_size=128, seed=1)
        config = TrainConfig(steps=60, learning_rate=5e-3, dead_window=128, log_every=60)
        with forced(path, crossover=0.0 if path == "dense" else 1.0):
            (progress,) = train({"arm": dictionary}, store, config)
        ends.append((dictionary, progress.arms["arm"]))
    (ours, measured), (dense, measured_dense) = ends
    moved = build(variant, width=48).atoms - dense.atoms
    assert bool((moved.abs() > 0.02).any())
    for (name, parameter), other in zip(ours.named_parameters(), dense.parameters(), strict=True):
        difference = float((parameter - other).detach().abs().max())
        assert difference <= TRAJECTORY * float(other.detach().abs().max()), (name, difference)
    if "k" in type(ours.config).model_fields:
        assert measured.dead > 0, "some latents count as dead, so that AuxK takes part"
    assert measured.loss == pytest.approx(measured_dense.loss, rel=TRAJECTORY)
    assert measured.l0 == pytest.approx(measured_dense.l0, rel=0.01)
