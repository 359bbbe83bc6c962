"""The conformance suite: what every dictionary must do, for the variants in this package and for yours.

    from assay.testing import check_dictionary
    check_dictionary(MyVariant)

Each rule is a function `check_...(build)` and can be run by itself; `builder(MyVariant)` gives the `build` it wants. A broken rule
raises AssertionError, which says the rule, what was got and what was expected. All runs on small shapes in a few seconds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from assay.activations.planted import Planted
from assay.codes import SparseCodes
from assay.config import parse
from assay.dictionary import Dictionary, Step
from assay.errors import ConfigError, ShapeMismatch
from assay.ops import forced
from assay.training.trainer import TrainConfig, Trainee

Build = Callable[..., Dictionary]
"""`build(**settings)` makes a new small dictionary; settings given to it take precedence."""

SMALL = {"d_in": 8, "width": 64}
ROWS = 48
STEPS = 20
RECOVERY = 0.9


def check_dictionary(variant: type[Dictionary], **settings: Any) -> None:
    """Run every check on `variant`, built with `settings` (by default 8 wide, 64 latents). Raises AssertionError."""
    build = builder(variant, **settings)
    for check in CHECKS:
        try:
            check(build)
        except AssertionError as error:
            raise AssertionError(f"{variant.name}, {check.__name__}: {error}") from error
        except Exception as error:
            raise AssertionError(f"{variant.name}, {check.__name__} stopped with {error!r}") from error


def builder(variant: type[Dictionary], **settings: Any) -> Build:
    """A function that builds small dictionaries of one variant. It raises ConfigError when settings don't fit."""

    def build(**changes: Any) -> Dictionary:
        return parse(variant.Config, {**SMALL, **settings, **changes}, where=f"settings of {variant.name}").build()

    return build


def check_settings(build: Build) -> None:
    """The registry knows it, its dial names a number, and every setting has a line of description."""
    dictionary = build()
    variant, config = type(dictionary), dictionary.config
    _expect(dictionary.registry.named(dictionary.name) is variant, "its name leads to it", dictionary.name)
    _expect(isinstance(config, variant.Config), "`config` holds its own Config", type(config))
    _expect(type(config.dial_value()) in (int, float), f"the dial {config.dial!r} is a number", config.dial_value())
    silent = [name for name, field in type(config).model_fields.items() if not field.description]
    _expect(not silent, "every setting has a docstring, which becomes its help", f"none for {silent}")
    _expect(parse(type(config), config.resolved(), where="settings") == config, "settings survive JSON", config)


def check_resizes(build: Build) -> None:
    """The same settings make a dictionary of another shape: a small one is trained to say how much memory a large one takes."""
    resized = build().config.resized(d_in=6, width=40).build()
    _equal(tuple(resized.atoms.shape), (40, 6), "settings resized to 40 latents of 6 make such atoms")


def check_terms_have_weights(build: Build) -> None:
    """One loss term for each Weight in the settings, and one Weight for each term."""
    dictionary = build()
    terms = dictionary.losses(_step(dictionary, _activations(dictionary))).terms
    _equal(sorted(terms), sorted(dictionary.config.weights()), "each term has a Weight of its name, and the reverse")


def check_shapes(build: Build) -> None:
    """Codes are [B L], reconstructions [B D], atoms [L D], terms are finite numbers; one row is a batch too."""
    dictionary = _trained(build)
    for rows in (ROWS, 1):
        x = _activations(dictionary, rows)
        codes, made = dictionary.encode(x), dictionary.losses(_step(dictionary, x))
        _equal((len(codes), codes.width), (rows, dictionary.config.width), "encode gives codes [B L]")
        _equal(tuple(codes.to_dense().shape), (rows, dictionary.config.width), "the table of codes is [B L]")
        _equal(tuple(dictionary.decode(codes).shape), tuple(x.shape), "decode gives [B D]")
        _equal(tuple(made.reconstruction.shape), tuple(x.shape), "losses reconstruct [B D]")
        _close(dictionary(x), dictionary.decode(codes), "forward is decode(encode(x))")
        for name, term in made.terms.items():
            _expect(term.ndim == 0 and bool(torch.isfinite(term)), f"the term {name!r} is one finite number", term)
    _equal(tuple(dictionary.atoms.shape), (dictionary.config.width, dictionary.config.d_in), "atoms are [L D]")


def check_refuses_wrong_shapes(build: Build) -> None:
    """Another width, or leading dimensions, raise ShapeMismatch that says the right width."""
    dictionary = build()
    width = dictionary.config.d_in
    for shape in [(ROWS, width + 1), (2, 3, width), (width,)]:
        try:
            dictionary.encode(torch.zeros(shape))
        except ShapeMismatch as error:
            _expect(str(width) in error.expected, f"the message for {shape} says the width {width}", str(error))
        else:
            raise AssertionError(f"activations of shape {shape} raise ShapeMismatch; got codes")


def check_terms_are_unweighted(build: Build) -> None:
    """No term changes when weights do: the trainer alone multiplies."""
    dictionary = _trained(build)
    heavier = {f"{name}.value": 7.0 + weight.value for name, weight in dictionary.config.weights().items()}
    other = dictionary.config.revised(heavier).build()
    other.load_state_dict(dictionary.state_dict())
    x = _activations(dictionary)
    ours, theirs = dictionary.losses(_step(dictionary, x)).terms, other.losses(_step(other, x)).terms
    for name, term in ours.items():
        _close(theirs[name], term, f"the term {name!r} stays the same when all weights change")


def check_losses_and_encode_agree(build: Build) -> None:
    """The codes and the reconstruction of training are those of inference; of a variant that chooses by batch, the values are."""
    dictionary = _trained(build)
    x = _activations(dictionary)
    made = dictionary.losses(_step(dictionary, x))
    if dictionary.chooses_by_batch:
        ours, theirs = made.codes.to_dense(), dictionary.encode(x).to_dense()
        both = (ours != 0) & (theirs != 0)
        _expect(bool(both.any()), "training and inference choose some of the same latents", "none in common")
        _close(ours[both], theirs[both], "where training and inference both fire, the values are the same", 1e-5)
        return
    _close(made.codes.to_dense(), dictionary.encode(x).to_dense(), "losses and encode give the same codes", 1e-5)
    raw = made.reconstruction * dictionary.scale + dictionary.mean
    _close(raw, dictionary(x), "losses and decode give the same reconstruction", 1e-5)


def check_works_in_double(build: Build) -> None:
    """`dictionary.double()` computes in float64 throughout (a change of one part in 10^10 shows), and agrees with float32."""
    dictionary = _trained(build)
    x = _activations(dictionary)
    single = dictionary(x)
    double = dictionary.double()
    _equal(double.encode(x).values.dtype, torch.float64, "codes are float64")
    _equal(double(x).dtype, torch.float64, "reconstructions are float64")
    _close(double(x).float(), single, "float32 and float64 agree", 1e-3)
    codes, nudged = double.encode(x.double()).to_dense(), double.encode(x.double() * (1 + 1e-10)).to_dense()
    changed = (codes != nudged)[codes != 0].double().mean().item()
    _expect(changed > 0.5, "a change of one part in 10^10 shows in float64 codes", f"{changed:.0%} of them changed")
    for name, tensor in _terms_and_gradients(double, _step(double, x)).items():
        _equal(tensor.dtype, torch.float64, f"{name} is float64")


def check_rows_are_independent(build: Build) -> None:
    """A row's codes depend on that row alone, whatever the others are and wherever it stands."""
    dictionary = _trained(build).double()
    x = _activations(dictionary)
    whole = dictionary.encode(x).to_dense()
    _close(dictionary.encode(x.flip(0)).to_dense(), whole.flip(0), "rows in another order have the same codes")
    _close(dictionary.encode(x[::3]).to_dense(), whole[::3], "some of the rows have the same codes")
    _close(dictionary.encode(x[-1:]).to_dense(), whole[-1:], "a row alone has the same codes")


def check_layouts_decode_alike(build: Build) -> None:
    """Dense and CSR codes decode to sum_i f_i d_i + b_dec."""
    dictionary = _trained(build)
    codes = dictionary.encode(_activations(dictionary))
    expected = (codes.to_dense() @ dictionary.atoms + dictionary.decoder_bias) * dictionary.scale + dictionary.mean
    for layout, same in {"its own": codes, "CSR": codes.to_csr(), "dense": SparseCodes.dense(codes.to_dense())}.items():
        _close(dictionary.decode(same), expected, f"codes in {layout} layout decode to sum_i f_i d_i + b_dec", 1e-5)


def check_layouts_learn_alike(build: Build) -> None:
    """Terms and gradients are the same whether the codes are kept dense or sparse."""
    dictionary = _trained(build).double()
    step = _step(dictionary, _activations(dictionary))
    with forced(crossover=0.0):
        dense = _terms_and_gradients(dictionary, step)
    with forced(crossover=1.0):
        sparse = _terms_and_gradients(dictionary, step)
    for name, tensor in dense.items():
        _close(sparse[name], tensor, f"{name} is the same in both layouts", 1e-9)


def check_every_parameter_learns(build: Build) -> None:
    """Some steps of training move every parameter, dead latents being there, and leave it finite."""
    fresh, trained = _started(build), _trained(build)
    still = [name for name, p in trained.named_parameters() if torch.equal(p, dict(fresh.named_parameters())[name])]
    _equal(still, [], f"every parameter moves in {STEPS} steps; unmoved")
    broken = [name for name, p in trained.named_parameters() if not torch.isfinite(p).all()]
    _equal(broken, [], "parameters stay finite; not finite")


def check_atoms_stay_unit(build: Build) -> None:
    """Atoms have unit norm at the start, and after training too unless `unit_atoms` is false."""
    fresh, trained = build(), _trained(build)
    _close(fresh.atoms.norm(dim=-1), torch.ones(fresh.config.width), "new atoms have unit norm", 1e-5)
    if trained.unit_atoms:
        _close(trained.atoms.norm(dim=-1), torch.ones(fresh.config.width), "trained atoms have unit norm", 1e-5)


def check_saving_loses_nothing(build: Build) -> None:
    """Save and load give back every bit, the settings and the provenance; saving again replaces."""
    dictionary = _trained(build)
    dictionary.provenance = {"model": "tiny", "site": "resid_post.1", "rows": ROWS, "nested": {"list": [1, 2.5, None]}}
    with tempfile.TemporaryDirectory() as root:
        build(seed=9).save(Path(root) / "saved")
        dictionary.save(Path(root) / "saved")
        again = Dictionary.load(Path(root) / "saved")
    _equal(type(again), type(dictionary), "the variant survives")
    _equal(again.config, dictionary.config, "the settings survive")
    _equal(again.provenance, dictionary.provenance, "the provenance survives")
    _same_bits(again.state_dict(), dictionary.state_dict(), "saving keeps every bit")
    _equal(again.unit_atoms, dictionary.unit_atoms, "`unit_atoms` follows from the settings")
    x = _activations(dictionary)
    _same_bits({"output": again(x)}, {"output": dictionary(x)}, "a loaded dictionary gives the same bits")


def check_scale_lives_inside(build: Build) -> None:
    """With scale and mean five times as large, five times the input gives five times the output."""
    dictionary, larger = _trained(build).double(), _trained(build).double()
    larger.scale.mul_(5)
    larger.mean.mul_(5)
    x = _activations(dictionary)
    _close(
        larger.encode(5 * x).to_dense(), dictionary.encode(x).to_dense(), "codes don't depend on the unit of measure"
    )
    _close(larger(5 * x), 5 * dictionary(x), "5 times the input, scale and mean give 5 times the output")


def check_is_deterministic(build: Build) -> None:
    """The seed alone decides how it starts; the same input gives the same bits."""
    ambient = torch.random.get_rng_state()
    first, again, other = build(), build(), build(seed=1)
    _expect(
        torch.equal(ambient, torch.random.get_rng_state()), "building leaves the global generator alone", "it was used"
    )
    _same_bits(again.state_dict(), first.state_dict(), "the same seed starts the same")
    _expect(not torch.equal(other.atoms, first.atoms), "another seed starts with other atoms", "the same atoms")
    dictionary = _trained(build)
    _same_bits(_trained(build).state_dict(), dictionary.state_dict(), "training twice gives the same bits")
    x = _activations(dictionary)
    _same_bits({"output": dictionary(x)}, {"output": dictionary(x)}, "the same input gives the same bits")


def check_encode_changes_nothing(build: Build) -> None:
    """encode leaves parameters, buffers, gradients, its input and the global generator as they were."""
    dictionary = _trained(build)
    x = _activations(dictionary)
    before, input_before = {name: t.clone() for name, t in dictionary.state_dict().items()}, x.clone()
    ambient = torch.random.get_rng_state()
    dictionary.decode(dictionary.encode(x))
    _same_bits(dictionary.state_dict(), before, "encode and decode change no state")
    _same_bits({"input": x}, {"input": input_before}, "encode leaves its input alone")
    touched = [name for name, parameter in dictionary.named_parameters() if parameter.grad is not None]
    _equal(touched, [], "encode leaves no gradients; found on")
    _expect(torch.equal(ambient, torch.random.get_rng_state()), "encode uses no global randomness", "it was used")


def check_silence_works(build: Build) -> None:
    """Activations equal to the mean, which may fire nothing, and no rows at all, pass through encode, decode and losses."""
    dictionary = _started(build)
    silent = dictionary.mean.repeat(ROWS, 1)
    _expect(bool(torch.isfinite(dictionary(silent)).all()), "the mean has a finite reconstruction", dictionary(silent))
    for name, tensor in _terms_and_gradients(dictionary, _step(dictionary, silent)).items():
        _expect(bool(torch.isfinite(tensor).all()), f"{name} is finite when nothing fires", tensor)
    _equal(tuple(dictionary(silent[:0]).shape), (0, dictionary.config.d_in), "no rows give no rows")


def check_reset_latents(build: Build) -> None:
    """Resetting latents gives them finite parameters and the unit atoms asked for, and leaves all else alone."""
    dictionary = _trained(build)
    before = {name: tensor.clone() for name, tensor in dictionary.state_dict().items()}
    latents, directions = torch.tensor([1, 4]), _activations(dictionary, 2)
    dictionary.reset_latents(latents, directions, 0.2)
    units = directions / directions.norm(dim=-1, keepdim=True)
    _close(dictionary.atoms[latents], units, "the new atoms are the directions given, at unit norm", 1e-5)
    kept = torch.ones(dictionary.config.width, dtype=torch.bool).index_fill(0, latents, False)
    for name, tensor in dictionary.state_dict().items():
        rows = kept if name in dictionary.per_latent_parameters() else ...
        _same_bits({name: tensor[rows]}, {name: before[name][rows]}, "resetting some latents leaves all else alone")
        _expect(bool(torch.isfinite(tensor).all()), f"{name} is finite after a reset", tensor)
    output = dictionary(_activations(dictionary))
    _expect(bool(torch.isfinite(output).all()), "outputs are finite after a reset", output)


def check_recovers_planted(build: Build) -> None:
    """At some place of its dial it finds 32 planted directions in 24 dimensions: mean best cosine >= 0.9."""
    planted = Planted(width=24, atoms=32, active=2.0)
    found: dict[float, float] = {}
    for dial in _dial_values(build()):
        try:
            dictionary = build(d_in=planted.width, width=48).config.revised({build().config.dial: dial}).build()
        except ConfigError:
            continue
        _learn(
            dictionary,
            planted.sample,
            256,
            TrainConfig(steps=500, learning_rate=0.01),
            torch.tensor([], dtype=torch.int64),
        )
        found[dial] = planted.recovery(dictionary.atoms)
        if found[dial] >= RECOVERY:
            return
    scores = ", ".join(f"{score:.3f} at {dial:g}" for dial, score in found.items())
    raise AssertionError(f"planted directions are recovered at {RECOVERY} somewhere on the dial; got {scores}")


CHECKS: tuple[Callable[[Build], None], ...] = tuple(
    check for name, check in globals().items() if name.startswith("check_") and name != "check_dictionary"
)
"""All checks, in the order in which they stand here: a later one may rely on what an earlier one found."""


def _activations(dictionary: Dictionary, rows: int = ROWS, key: int = 0) -> Float[Tensor, "rows D"]:
    """Raw activations with a mean and a scale of their own."""
    return 3 * torch.randn(rows, dictionary.config.d_in, generator=torch.Generator().manual_seed(key)) + 2


def _dead(dictionary: Dictionary) -> Tensor:
    return torch.arange(dictionary.config.width) % 4 == 1


def _step(dictionary: Dictionary, activations: Tensor) -> Step:
    x = dictionary.scaled(activations)
    return Step(x, target=x, dead=_dead(dictionary))


def _started(build: Build) -> Dictionary:
    dictionary = build()
    dictionary.start(_activations(dictionary, 256, key=1))
    return dictionary


def _trained(build: Build) -> Dictionary:
    """A dictionary whose parameters have all left their starting values, a quarter of its latents taken for dead."""
    dictionary, config = build(), TrainConfig(steps=STEPS, learning_rate=3e-3)
    _learn(dictionary, lambda rows, key: _activations(dictionary, rows, key + 10), ROWS, config, _dead(dictionary))
    return dictionary


def _learn(
    dictionary: Dictionary, sample: Callable[[int, int], Tensor], rows: int, config: TrainConfig, dead: Tensor
) -> None:
    dictionary.start(sample(8 * rows, -1))
    trainee, schedule = Trainee(dictionary, config), config.schedule()
    for index in range(config.steps):
        trainee.dead.silent[dead] = config.dead_window + 1
        _, result, loss = trainee.loss(dictionary.scaled(sample(rows, index)), index / config.steps)
        trainee.learn(result, loss, schedule.at(index) * config.learning_rate)


def _dial_values(dictionary: Dictionary) -> list[int] | list[float]:
    """Places on the dial to try, likely ones first: whole numbers are counts of active latents, others scale the default."""
    default = dictionary.config.dial_value()
    return [2, 3, 4, 6] if isinstance(default, int) else [default * factor for factor in (4, 2, 8, 1, 16, 0.5)]


def _terms_and_gradients(dictionary: Dictionary, step: Step) -> dict[str, Tensor]:
    terms, parameters = dictionary.losses(step).terms, dict(dictionary.named_parameters())
    found: dict[str, Tensor] = {f"term {name!r}": term.detach() for name, term in terms.items()}
    for term_name, term in terms.items():
        if term.requires_grad:
            gradients = torch.autograd.grad(term, [*parameters.values()], retain_graph=True, materialize_grads=True)
            for name, gradient in zip(parameters, gradients, strict=True):
                found[f"the gradient of {term_name!r} with respect to {name}"] = gradient
    return found


def _expect(holds: bool, rule: str, got: object) -> None:
    if not holds:
        raise AssertionError(f"{rule}; got {got}")


def _equal(got: object, expected: object, rule: str) -> None:
    _expect(got == expected, f"{rule}: expected {expected}", got)


def _close(got: Tensor, expected: Tensor, rule: str, tolerance: float = 1e-6) -> None:
    """Equal up to `tolerance` times the largest expected magnitude."""
    _equal(tuple(got.shape), tuple(expected.shape), f"{rule} (shape)")
    if got.numel():
        gap = (got - expected).abs().max().item()
        bound = tolerance * max(expected.abs().max().item(), torch.finfo(expected.dtype).tiny)
        _expect(gap <= bound, rule, f"a largest difference of {gap:.3g}, expected at most {bound:.3g}")


def _same_bits(got: Mapping[str, Tensor], expected: Mapping[str, Tensor], rule: str) -> None:
    _equal(sorted(got), sorted(expected), f"{rule} (names)")
    changed = [name for name, tensor in expected.items() if not torch.equal(got[name], tensor)]
    _equal(changed, [], f"{rule}; different")
