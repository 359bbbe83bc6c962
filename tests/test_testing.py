"""The conformance suite catches what it is there to catch: each rule, broken by a variant that keeps the others well enough."""

from __future__ import annotations

import types
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from assay import ops
from assay.dictionary import Dictionary, Pass, Weight
from assay.testing import CHECKS, builder, check_dictionary, dictionaries


@pytest.fixture(autouse=True)
def own_registry(monkeypatch) -> None:
    """Mutants are forgotten after their test."""
    Dictionary.registry.names()
    monkeypatch.setattr(Dictionary.registry, "_members", dict(Dictionary.registry._members))


class Settings(Dictionary.Config):
    dial: ClassVar[str] = "sparsity.value"
    sparsity: Weight = Weight(value=0.15)
    """L1 on the codes."""


def begin(self: Any, config: Any) -> None:
    Dictionary.__init__(self, config)
    self.encoder = nn.Parameter(self.atoms.detach().clone())
    self.bias = nn.Parameter(torch.zeros(config.width))


def encode(self: Any, x: Any) -> Any:
    products = ops.select_positive(x - self.decoder_bias, self.encoder, self.bias)
    return products.with_values(products.values + products.spread(self.bias))


def losses(self: Any, step: Any, **terms: Any) -> Pass:
    codes = self.encode_scaled(step.x)
    reconstruction = self.decode_scaled(codes)
    error = ops.squared_error(reconstruction, step.target)
    return Pass(codes, reconstruction, {"reconstruction": error, "sparsity": codes.values.sum() / len(codes), **terms})


def mutant(**members: Any) -> type[Dictionary]:
    """A ReLU dictionary with some of its members replaced."""
    config = type("Config", (members.pop("Config", Settings),), {"__module__": __name__})
    body = {"Config": config, "__init__": begin, "encode_scaled": encode, "losses": losses, **members}
    return types.new_class(
        "Mutant", (Dictionary,), {"name": "mutant", "paper": "none"}, lambda namespace: namespace.update(body)
    )


def weighted(self, step):
    made = losses(self, step)
    return Pass(
        made.codes, made.reconstruction, {**made.terms, "sparsity": self.config.sparsity.value * made.terms["sparsity"]}
    )


def without_a_term(self, step):
    made = losses(self, step)
    return Pass(made.codes, made.reconstruction, {"reconstruction": made.terms["reconstruction"]})


def with_a_stray_term(self, step):
    return losses(self, step, stray=step.x.sum())


def other_codes_in_training(self, step):
    made = losses(self, step)
    return Pass(made.codes.with_values(2 * made.codes.values), made.reconstruction, made.terms)


def learns_another_row(self, step):
    return losses(self, step, reconstruction=ops.squared_error(self(step.x), step.target.roll(1, 0)))


def mean_of_the_active(self, step):
    values = losses(self, step).codes.values
    return losses(self, step, sparsity=values.sum() / (values > 0).sum())


def mean_of_the_stored(self, step):
    values = losses(self, step).codes.values
    return losses(self, step, sparsity=values.sum() / max(values.numel(), 1))


def centred_on_the_batch(self, x):
    return encode(self, x - x.mean(0))


def noisy(self, x):
    return encode(self, x + 0.1 * torch.randn_like(x))


def single(self, x):
    products = encode(self, x)
    return products.with_values(products.values.float().to(x))


def counting(self, x):
    self.mean.add_(1e-3)
    return encode(self, x)


def in_raw_units(self, x):
    return encode(self, x * self.scale)


def lifted(self, x):
    return encode(self, x * self.lift)


def by_ambient_randomness(self, config):
    begin(self, config)
    with torch.no_grad():
        self.encoder.normal_()


def with_an_idle_parameter(self, config):
    begin(self, config)
    self.idle = nn.Parameter(torch.ones(3))


def with_long_atoms(self, config):
    begin(self, config)
    with torch.no_grad():
        self.atoms.mul_(2)


def with_a_hidden_number(self, config):
    begin(self, config)
    self.lift = 1.0


def find_the_hidden_number(self, x):
    self.lift = 2.0


def forgetful(self, latents, directions, encoder_norm, read=None):
    with torch.no_grad():
        self.atoms[latents] = torch.nan


class Undescribed(Settings):
    bare: int = 1


class Misdialled(Settings):
    dial: ClassVar[str] = "sparsity.vaule"


class Rigid(Settings):
    def resized(self, *, d_in: int, width: int) -> Any:
        return self


MUTANTS = [
    ("settings", {"Config": Undescribed}, "every setting has a docstring"),
    ("settings", {"Config": Misdialled}, "vaule"),
    ("resizes", {"Config": Rigid}, "resized to 40 latents"),
    ("terms_have_weights", {"losses": without_a_term}, "each term has a Weight"),
    ("terms_have_weights", {"losses": with_a_stray_term}, "each term has a Weight"),
    ("terms_are_unweighted", {"losses": weighted}, "'sparsity' stays the same"),
    ("losses_and_encode_agree", {"losses": other_codes_in_training}, "same codes"),
    ("works_in_double", {"encode_scaled": single}, "shows in float64 codes"),
    ("rows_are_independent", {"encode_scaled": centred_on_the_batch}, "some of the rows"),
    ("layouts_learn_alike", {"losses": mean_of_the_stored}, "same in both layouts"),
    ("every_parameter_learns", {"__init__": with_an_idle_parameter}, r"unmoved: expected \[\]; got \['idle'\]"),
    ("atoms_stay_unit", {"__init__": with_long_atoms}, "new atoms have unit norm"),
    (
        "saving_loses_nothing",
        {"__init__": with_a_hidden_number, "encode_scaled": lifted, "start_from": find_the_hidden_number},
        "a loaded dictionary gives the same bits",
    ),
    ("scale_lives_inside", {"encode_scaled": in_raw_units}, "unit of measure"),
    ("is_deterministic", {"__init__": by_ambient_randomness}, "global generator"),
    ("is_deterministic", {"encode_scaled": noisy}, "same bits"),
    ("encode_changes_nothing", {"encode_scaled": counting}, "change no state"),
    ("encode_changes_nothing", {"encode_scaled": noisy}, "no global randomness"),
    ("silence_works", {"losses": mean_of_the_active}, "finite when nothing fires"),
    ("reset_latents", {"reset_latents": forgetful}, "unit norm"),
]


@pytest.mark.parametrize(
    ("rule", "members", "message"), MUTANTS, ids=[f"{rule}-{n}" for n, (rule, _, _) in enumerate(MUTANTS)]
)
def test_a_broken_rule_is_caught(rule, members, message):
    build = builder(mutant(**members))
    check = getattr(dictionaries, f"check_{rule}")
    with pytest.raises((AssertionError, AttributeError), match=message):
        check(build)


def test_a_variant_that_learns_something_else_recovers_nothing(monkeypatch):
    monkeypatch.setattr(dictionaries, "dial_values", lambda dictionary: [0.5])
    with pytest.raises(AssertionError, match=r"planted directions are recovered .* got 0\.\d+ at 0\.5"):
        dictionaries.check_recovers_planted(builder(mutant(losses=learns_another_row)))


def test_the_variant_that_all_mutants_come_from_is_sound():
    check_dictionary(mutant())


def test_the_message_names_the_variant_and_the_check_and_what_was_got():
    expected = (
        r"mutant, check_terms_have_weights: each term has a Weight .* got \['reconstruction', 'sparsity', 'stray'\]"
    )
    with pytest.raises(AssertionError, match=expected):
        check_dictionary(mutant(losses=with_a_stray_term))


def test_a_check_that_stops_is_named_too():
    with pytest.raises(AssertionError, match="mutant, check_settings stopped with AttributeError"):
        check_dictionary(mutant(Config=Misdialled))


def test_settings_reach_the_variant():
    assert builder(mutant(), d_in=12)(width=20).atoms.shape == (20, 12)


def test_every_check_is_in_the_suite():
    assert len(CHECKS) >= 19
    assert check_dictionary not in CHECKS
