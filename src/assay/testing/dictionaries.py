"""The conformance suite: what every dictionary must do, for the variants in this package and for yours.

    from assay.testing import check_dictionary
    check_dictionary(MyVariant)

Each rule is a function `check_...(build)` and can be run by itself; `builder(MyVariant)` gives the `build` it wants. A broken rule
raises AssertionError, which says the rule, what was got and what was expected. All runs on small shapes in a few seconds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from assay.activations.planted import Planted
from assay.codes import SparseCodes
from assay.config import parse
from assay.dictionary import Dictionary
from assay.errors import ConfigError, ShapeMismatch
from assay.ops import forced
from assay.testing.rules import close, equal, expect, same_bits
from assay.testing.small import (
    ROWS,
    STEPS,
    Build,
    activations_of,
    dead_of,
    dial_values,
    learn,
    rows_of,
    started,
    step_of,
    terms_and_gradients,
    trained,
)
from assay.training.trainer import TrainConfig

SMALL = {"d_in": 8, "width": 64}
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
        wanted = {**SMALL, **settings, **changes}
        small = variant.Config().resized(d_in=wanted.pop("d_in"), width=wanted.pop("width"))
        return parse(variant.Config, {**small.resolved(), **wanted}, where=f"settings of {variant.name}").build()

    return build


def check_settings(build: Build) -> None:
    """The registry knows it, its dial names a number, and every setting has a line of description."""
    dictionary = build()
    variant, config = type(dictionary), dictionary.config
    expect(dictionary.registry.named(dictionary.name) is variant, "its name leads to it", dictionary.name)
    expect(isinstance(config, variant.Config), "`config` holds its own Config", type(config))
    expect(type(config.dial_value()) in (int, float), f"the dial {config.dial!r} is a number", config.dial_value())
    silent = [name for name, field in type(config).model_fields.items() if not field.description]
    expect(not silent, "every setting has a docstring, which becomes its help", f"none for {silent}")
    expect(parse(type(config), config.resolved(), where="settings") == config, "settings survive JSON", config)


def check_resizes(build: Build) -> None:
    """The same settings make a dictionary of another shape: a small one is trained to say how much memory a large one takes."""
    resized = build().config.resized(d_in=6, width=40)
    equal(resized.d_in, 6, "settings resized to 40 latents of 6 read 6")
    equal(resized.resized(d_in=6, width=resized.width), resized, "a shape that settings can have is kept")
    equal(tuple(resized.build().atoms.shape), (resized.width, resized.d_out), "atoms are [L E]")


def check_terms_have_weights(build: Build) -> None:
    """One loss term for each Weight in the settings, and one Weight for each term."""
    dictionary = build()
    terms = dictionary.losses(step_of(dictionary, rows_of(dictionary))).terms
    equal(sorted(terms), sorted(dictionary.config.weights()), "each term has a Weight of its name, and the reverse")


def check_shapes(build: Build) -> None:
    """Codes are [B L], reconstructions [B D], atoms [L D], terms are finite numbers; one row is a batch too."""
    dictionary = trained(build)
    for rows in (ROWS, 1):
        x, shape = activations_of(dictionary, rows), (rows, dictionary.config.d_out)
        codes, made = dictionary.encode(x), dictionary.losses(step_of(dictionary, rows_of(dictionary, rows)))
        equal((len(codes), codes.width), (rows, dictionary.config.width), "encode gives codes [B L]")
        equal(tuple(codes.to_dense().shape), (rows, dictionary.config.width), "the table of codes is [B L]")
        equal(tuple(dictionary.decode(codes).shape), shape, "decode gives [B E]")
        equal(tuple(made.reconstruction.shape), shape, "losses reconstruct [B E]")
        close(dictionary(x), dictionary.decode(codes, x), "forward is decode(encode(x), x)")
        for name, term in made.terms.items():
            expect(term.ndim == 0 and bool(torch.isfinite(term)), f"the term {name!r} is one finite number", term)
    equal(tuple(dictionary.atoms.shape), (dictionary.config.width, dictionary.config.d_out), "atoms are [L E]")


def check_refuses_wrong_shapes(build: Build) -> None:
    """Another width, or leading dimensions, raise ShapeMismatch that says the right width."""
    dictionary = build()
    width = dictionary.config.d_in
    for shape in [(ROWS, width + 1), (2, 3, width), (width,)]:
        try:
            dictionary.encode(torch.zeros(shape))
        except ShapeMismatch as error:
            expect(str(width) in error.expected, f"the message for {shape} says the width {width}", str(error))
        else:
            raise AssertionError(f"activations of shape {shape} raise ShapeMismatch; got codes")


def check_terms_are_unweighted(build: Build) -> None:
    """No term changes when weights do: the trainer alone multiplies."""
    dictionary = trained(build)
    heavier = {f"{name}.value": 7.0 + weight.value for name, weight in dictionary.config.weights().items()}
    other = dictionary.config.revised(heavier).build()
    other.load_state_dict(dictionary.state_dict())
    rows = rows_of(dictionary)
    ours, theirs = dictionary.losses(step_of(dictionary, rows)).terms, other.losses(step_of(other, rows)).terms
    for name, term in ours.items():
        close(theirs[name], term, f"the term {name!r} stays the same when all weights change")


def check_losses_and_encode_agree(build: Build) -> None:
    """The codes and the reconstruction of training are those of inference; of a variant that chooses by batch, the values are."""
    dictionary = trained(build)
    x = activations_of(dictionary)
    made = dictionary.losses(step_of(dictionary, rows_of(dictionary)))
    if dictionary.chooses_by_batch:
        ours, theirs = made.codes.to_dense(), dictionary.encode(x).to_dense()
        both = (ours != 0) & (theirs != 0)
        expect(bool(both.any()), "training and inference choose some of the same latents", "none in common")
        close(ours[both], theirs[both], "where training and inference both fire, the values are the same", 1e-5)
        return
    close(made.codes.to_dense(), dictionary.encode(x).to_dense(), "losses and encode give the same codes", 1e-5)
    close(
        dictionary.unscaled(made.reconstruction), dictionary(x), "losses and decode give the same reconstruction", 1e-5
    )


def check_works_in_double(build: Build) -> None:
    """`dictionary.double()` computes in float64 throughout (a change of one part in 10^10 shows), and agrees with float32."""
    dictionary = trained(build)
    x = activations_of(dictionary)
    single = dictionary(x)
    double = dictionary.double()
    equal(double.encode(x).values.dtype, torch.float64, "codes are float64")
    equal(double(x).dtype, torch.float64, "reconstructions are float64")
    close(double(x).float(), single, "float32 and float64 agree", 1e-3)
    codes, nudged = double.encode(x.double()).to_dense(), double.encode(x.double() * (1 + 1e-10)).to_dense()
    changed = (codes != nudged)[codes != 0].double().mean().item()
    expect(changed > 0.5, "a change of one part in 10^10 shows in float64 codes", f"{changed:.0%} of them changed")
    for name, tensor in terms_and_gradients(double, step_of(double, rows_of(double))).items():
        equal(tensor.dtype, torch.float64, f"{name} is float64")


def check_trains_in_bfloat16(build: Build) -> None:
    """Steps with `compute_dtype = "bfloat16"` leave every parameter finite and in float32, and every term finite."""
    dictionary, config = build(), TrainConfig(steps=3, learning_rate=3e-3, compute_dtype="bfloat16")
    learn(dictionary, lambda rows, key: rows_of(dictionary, rows, key + 10), ROWS, config, dead_of(dictionary))
    for name, parameter in dictionary.named_parameters():
        equal(parameter.dtype, torch.float32, f"{name} stays float32")
        expect(bool(parameter.isfinite().all()), f"{name} stays finite", parameter)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = dictionary.losses(step_of(dictionary, rows_of(dictionary))).terms
    for name, term in terms.items():
        expect(bool(term.isfinite()), f"the term {name} is finite", term)


def check_rows_are_independent(build: Build) -> None:
    """A row's codes depend on that row alone, whatever the others are and wherever it stands."""
    dictionary = trained(build).double()
    x = activations_of(dictionary)
    whole = dictionary.encode(x).to_dense()
    close(dictionary.encode(x.flip(0)).to_dense(), whole.flip(0), "rows in another order have the same codes")
    close(dictionary.encode(x[::3]).to_dense(), whole[::3], "some of the rows have the same codes")
    close(dictionary.encode(x[-1:]).to_dense(), whole[-1:], "a row alone has the same codes")


def check_layouts_decode_alike(build: Build) -> None:
    """Dense and CSR codes decode to sum_i f_i d_i + b_dec."""
    dictionary = trained(build)
    codes = dictionary.encode(activations_of(dictionary))
    expected = dictionary.unscaled(codes.to_dense() @ dictionary.atoms + dictionary.decoder_bias)
    for layout, same in {"its own": codes, "CSR": codes.to_csr(), "dense": SparseCodes.dense(codes.to_dense())}.items():
        close(dictionary.decode(same), expected, f"codes in {layout} layout decode to sum_i f_i d_i + b_dec", 1e-5)


def check_layouts_learn_alike(build: Build) -> None:
    """Terms and gradients are the same whether the codes are kept dense or sparse."""
    dictionary = trained(build).double()
    step = step_of(dictionary, rows_of(dictionary))
    with forced(crossover=0.0):
        dense = terms_and_gradients(dictionary, step)
    with forced(crossover=1.0):
        sparse = terms_and_gradients(dictionary, step)
    for name, tensor in dense.items():
        close(sparse[name], tensor, f"{name} is the same in both layouts", 1e-9)


def check_every_parameter_learns(build: Build) -> None:
    """Some steps of training move every parameter, dead latents being there, and leave it finite."""
    before, after = dict(started(build).named_parameters()), dict(trained(build).named_parameters())
    still = [name for name, p in after.items() if p.requires_grad and torch.equal(p, before[name])]
    equal(still, [], f"every parameter moves in {STEPS} steps; unmoved")
    broken = [name for name, p in after.items() if not torch.isfinite(p).all()]
    equal(broken, [], "parameters stay finite; not finite")


def check_atoms_stay_unit(build: Build) -> None:
    """Atoms have unit norm at the start, and after training too unless `unit_atoms` is false."""
    fresh, learnt = build(), trained(build)
    close(fresh.atoms.norm(dim=-1), torch.ones(fresh.config.width), "new atoms have unit norm", 1e-5)
    if learnt.unit_atoms:
        close(learnt.atoms.norm(dim=-1), torch.ones(fresh.config.width), "trained atoms have unit norm", 1e-5)


def check_saving_loses_nothing(build: Build) -> None:
    """Save and load give back every bit, the settings and the provenance; saving again replaces."""
    dictionary = trained(build)
    dictionary.provenance = {"model": "tiny", "site": "resid_post.1", "rows": ROWS, "nested": {"list": [1, 2.5, None]}}
    with tempfile.TemporaryDirectory() as root:
        build(seed=9).save(Path(root) / "saved")
        dictionary.save(Path(root) / "saved")
        again = Dictionary.load(Path(root) / "saved")
    equal(type(again), type(dictionary), "the variant survives")
    equal(again.config, dictionary.config, "the settings survive")
    equal(again.provenance, dictionary.provenance, "the provenance survives")
    same_bits(again.state_dict(), dictionary.state_dict(), "saving keeps every bit")
    equal(again.unit_atoms, dictionary.unit_atoms, "`unit_atoms` follows from the settings")
    x = activations_of(dictionary)
    same_bits({"output": again(x)}, {"output": dictionary(x)}, "a loaded dictionary gives the same bits")


def check_scale_lives_inside(build: Build) -> None:
    """With scale and mean five times as large, five times the input gives five times the output."""
    dictionary, larger = trained(build).double(), trained(build).double()
    for name, buffer in larger.named_buffers():
        if name in {"mean", "scale", "target_mean", "target_scale"}:
            buffer.mul_(5)
    x = activations_of(dictionary)
    close(larger.encode(5 * x).to_dense(), dictionary.encode(x).to_dense(), "codes don't depend on the unit of measure")
    close(larger(5 * x), 5 * dictionary(x), "5 times the input, scale and mean give 5 times the output")


def check_is_deterministic(build: Build) -> None:
    """The seed alone decides how it starts; the same input gives the same bits."""
    ambient = torch.random.get_rng_state()
    first, again, other = build(), build(), build(seed=1)
    expect(
        torch.equal(ambient, torch.random.get_rng_state()), "building leaves the global generator alone", "it was used"
    )
    same_bits(again.state_dict(), first.state_dict(), "the same seed starts the same")
    if first.learns():
        expect(not torch.equal(other.atoms, first.atoms), "another seed starts with other atoms", "the same atoms")
    dictionary = trained(build)
    same_bits(trained(build).state_dict(), dictionary.state_dict(), "training twice gives the same bits")
    x = activations_of(dictionary)
    same_bits({"output": dictionary(x)}, {"output": dictionary(x)}, "the same input gives the same bits")


def check_a_baseline_starts_whatever_its_dial(build: Build) -> None:
    """What learns nothing starts the same at each place of its dial: a sweep fits it once."""
    first = started(build)
    if first.learns():
        return
    for dial in dial_values(first):
        settings = first.config.revised({first.config.dial: dial})
        same_bits(
            started(settings.build).state_dict(), first.state_dict(), f"it starts the same at {settings.dial} = {dial}"
        )


def check_encode_changes_nothing(build: Build) -> None:
    """encode leaves parameters, buffers, gradients, its input and the global generator as they were."""
    dictionary = trained(build)
    x = activations_of(dictionary)
    before, input_before = {name: t.clone() for name, t in dictionary.state_dict().items()}, x.clone()
    ambient = torch.random.get_rng_state()
    dictionary.decode(dictionary.encode(x))
    same_bits(dictionary.state_dict(), before, "encode and decode change no state")
    same_bits({"input": x}, {"input": input_before}, "encode leaves its input alone")
    touched = [name for name, parameter in dictionary.named_parameters() if parameter.grad is not None]
    equal(touched, [], "encode leaves no gradients; found on")
    expect(torch.equal(ambient, torch.random.get_rng_state()), "encode uses no global randomness", "it was used")


def check_silence_works(build: Build) -> None:
    """Activations equal to the mean, which may fire nothing, and no rows at all, pass through encode, decode and losses."""
    dictionary = started(build)
    silent = dictionary.mean.repeat(ROWS, 1)
    rows = torch.cat([silent, dictionary.target_mean.repeat(ROWS, 1)], 1) if dictionary.config.maps_to else silent
    expect(bool(torch.isfinite(dictionary(silent)).all()), "the mean has a finite reconstruction", dictionary(silent))
    for name, tensor in terms_and_gradients(dictionary, step_of(dictionary, rows)).items():
        expect(bool(torch.isfinite(tensor).all()), f"{name} is finite when nothing fires", tensor)
    equal(tuple(dictionary(silent[:0]).shape), (0, dictionary.config.d_out), "no rows give no rows")


def check_reset_latents(build: Build) -> None:
    """Resetting latents gives them finite parameters and the unit atoms asked for, and leaves all else alone."""
    dictionary = trained(build)
    before = {name: tensor.clone() for name, tensor in dictionary.state_dict().items()}
    latents, directions = torch.tensor([1, 4]), torch.randn(2, dictionary.config.d_out) + 1
    read = activations_of(dictionary, 2) if dictionary.config.maps_to else None
    dictionary.reset_latents(latents, directions, 0.2, read)
    units = directions / directions.norm(dim=-1, keepdim=True)
    close(dictionary.atoms[latents], units, "the new atoms are the directions given, at unit norm", 1e-5)
    kept = torch.ones(dictionary.config.width, dtype=torch.bool).index_fill(0, latents, False)
    for name, tensor in dictionary.state_dict().items():
        rows = kept if name in dictionary.per_latent_parameters() else ...
        same_bits({name: tensor[rows]}, {name: before[name][rows]}, "resetting some latents leaves all else alone")
        expect(bool(torch.isfinite(tensor).all()), f"{name} is finite after a reset", tensor)
    output = dictionary(activations_of(dictionary))
    expect(bool(torch.isfinite(output).all()), "outputs are finite after a reset", output)


def check_recovers_planted(build: Build) -> None:
    """At some place of its dial it finds planted directions in 24 dimensions: mean best cosine >= 0.9.

    They are 32, signed for a variant that is; of one as wide as its input, 24 at right angles. A baseline that only starts from a
    sample need not.
    """
    if not build().learns():
        return
    base, signed = build(d_in=24, width=48).config, type(build()).signed
    narrow = base.width == base.d_in
    planted = Planted(width=24, atoms=24 if narrow else 32, active=2.0, signed=signed, orthogonal=narrow)
    found: dict[float, float] = {}
    for dial in dial_values(build()):
        try:
            dictionary = base.revised({base.dial: dial}).build()
        except ConfigError:
            continue
        learn(
            dictionary,
            lambda rows, key: planted.sample(rows, key).repeat(1, base.columns // base.d_in),
            256,
            TrainConfig(steps=500, learning_rate=0.01),
            torch.tensor([], dtype=torch.int64),
        )
        found[dial] = planted.recovery(dictionary.atoms, base.block)
        if found[dial] >= RECOVERY:
            return
    scores = ", ".join(f"{score:.3f} at {dial:g}" for dial, score in found.items())
    raise AssertionError(f"planted directions are recovered at {RECOVERY} somewhere on the dial; got {scores}")


CHECKS: tuple[Callable[[Build], None], ...] = tuple(
    check for name, check in globals().items() if name.startswith("check_") and name != "check_dictionary"
)
"""All checks, in the order in which they stand here: a later one may rely on what an earlier one found."""
