"""The planted benchmark: how much of a known dictionary each variant finds, where atoms are correlated, nested, rare, shifted or noisy.

Every variant gets the same rows, steps and learning rate. What variants find is only comparable at like sparsity, so each dial is turned
to where L0 is nearest to the planted one: a sweep on plain data says about where, and three places there are tried on each kind of data.
The L0 that was reached is in the row.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

from pydantic import Field

from assay.activations import ActivationStore
from assay.activations.planted import Planted
from assay.analysis.ground_truth import recovery
from assay.config import Config
from assay.dictionary import Dictionary
from assay.errors import AssayError, UnknownName
from assay.record import Record, machine
from assay.training import TrainConfig, train

KINDS: Mapping[str, dict[str, float]] = {
    "plain": {},
    "correlated": {"correlation": 0.6},
    "hierarchical": {"children": 3},
    "zipfian": {"zipf": 1.0},
    "shifted": {"offset": 5.0},
    "noisy": {"noise": 0.1},
}
"""Data by name: what makes them differ from plain ones."""
SWEEP, NEAR = (-4, -3, -2, -1, 0, 1, 2, 3, 4), (-0.5, 0, 0.5)
"""Places on a dial: times a power of 2, or, on one that counts latents, so many of them more (halves are whole ones there)."""


class Benchmark(Config):
    """What is planted, and how long is learnt from it."""

    variants: tuple[str, ...] = ()
    """Registered names; all of them by default."""
    kinds: tuple[str, ...] = tuple(KINDS)
    """Kinds of data."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    """Seeds of the data and of the dictionaries."""
    width: int = Field(default=48, ge=1)
    """Width of the activations."""
    atoms: int = Field(default=96, ge=1)
    """Planted atoms."""
    active: float = Field(default=3.0, gt=0)
    """Of them in a row."""
    latents: int = Field(default=112, ge=1)
    """Latents of each dictionary."""
    steps: int = Field(default=600, ge=1)
    """Steps of training."""
    batch: int = Field(default=160, ge=1)
    """Rows a step."""
    rows: int = Field(default=65_536, ge=1)
    """Rows that are drawn to learn from."""
    learning_rate: float = Field(default=5e-3, gt=0)
    """Peak learning rate."""
    scored_rows: int = Field(default=8192, ge=1)
    """Rows that decide, none of them learnt from."""

    def planted(self, kind: str, seed: int) -> Planted:
        """The data of a kind. Raises UnknownName."""
        if kind not in KINDS:
            raise UnknownName(
                f"there is no kind of planted data {kind!r}", expected=", ".join(KINDS), do="Name one of them."
            )
        plain = Planted(width=self.width, atoms=self.atoms, active=self.active, seed=seed)
        return replace(plain, **KINDS[kind])  # pyright: ignore


def benchmark(
    settings: Benchmark, skip: Callable[[str, str], None] = lambda variant, reason: None
) -> Iterator[tuple[str, Record]]:
    """(kind, record) of each variant, kind of data and seed; `skip` is told of variants that can't take part, and why.

    Raises UnknownName.
    """
    for kind in settings.kinds:
        settings.planted(kind, 0)
    for name in settings.variants or Dictionary.registry.names():
        variant = Dictionary.registry.named(name)
        try:
            base = variant.Config().resized(d_in=settings.width, width=settings.latents)
            if base.maps_to:
                skip(name, "it maps a site to another")
                continue
            near = _near_planted_l0(base, settings)
            for kind in settings.kinds:
                for seed in settings.seeds:
                    yield kind, _scored(near.revised({"seed": seed}), kind, seed, settings)
        except AssayError as error:
            skip(name, str(error))


def _scored(near: Dictionary.Config, kind: str, seed: int, settings: Benchmark) -> Record:
    planted, started = settings.planted(kind, seed), time.perf_counter()
    dictionaries = _trained(_turned(near, near.dial_value(), NEAR), planted, settings)
    seconds = time.perf_counter() - started
    scores = [(one, recovery(one, planted, settings.scored_rows)) for one in dictionaries]
    dictionary, best = min(scores, key=lambda pair: abs(pair[1].l0 - settings.active))
    values = {name: value if math.isfinite(value) else None for name, value in vars(best).items()}
    config = dictionary.config
    return Record(
        arm=f"{dictionary.name}-{kind}-s{seed}",
        variant=dictionary.name,
        dial=config.dial_value(),
        seed=seed,
        width=config.width,
        tokens=settings.scored_rows,
        config_digest=config.digest(),
        values={**values, "seconds": seconds},
        machine=machine(),
    )


def _near_planted_l0(base: Dictionary.Config, settings: Benchmark) -> Dictionary.Config:
    """The settings with the dial where L0 on plain data is the planted one, between places of a sweep if need be."""
    planted = settings.planted("plain", settings.seeds[0])
    if isinstance(base.dial_value(), int):
        return base.revised({base.dial: round(settings.active)})
    found = _trained(_turned(base, base.dial_value(), SWEEP), planted, settings)
    points = [(one.config.dial_value(), recovery(one, planted, settings.scored_rows).l0) for one in found]
    for (dial, l0), (next_dial, next_l0) in pairwise(points):
        if min(l0, next_l0) > 0 and (l0 - settings.active) * (next_l0 - settings.active) <= 0 and l0 != next_l0:
            share = math.log(settings.active / l0) / math.log(next_l0 / l0)
            return base.revised({base.dial: dial * (next_dial / dial) ** share})
    nearest, _ = min(points, key=lambda point: abs(point[1] - settings.active))
    return base.revised({base.dial: nearest})


def _turned(config: Dictionary.Config, dial: float, turns: Iterable[float]) -> list[Dictionary.Config]:
    """The settings with the dial at places around one; those that the variant refuses are left out."""
    found = []
    for turn in turns:
        with suppress(AssayError):
            found.append(
                config.revised({config.dial: dial + round(2 * turn) if isinstance(dial, int) else dial * 2.0**turn})
            )
    return found


def _trained(arms: Sequence[Dictionary.Config], planted: Planted, settings: Benchmark) -> list[Dictionary]:
    dictionaries = {str(place): config.build() for place, config in enumerate(arms)}
    rows = planted.sample(settings.rows, key=0)
    store = ActivationStore.of(rows, batch_size=settings.batch, seed=planted.seed)
    config = TrainConfig(
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        log_every=settings.steps,
        sample_rows=settings.rows,
    )
    for _ in train(dictionaries, store, config):
        pass
    return [*dictionaries.values()]
