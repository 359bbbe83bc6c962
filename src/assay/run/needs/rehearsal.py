"""What training a dictionary takes, found by training a small one and counting: no variant declares anything, and none is named here.

The size of every tensor in a training is a product of some of three numbers: rows of a batch (or of the sample that it starts from),
latents, and width of the activations. So one start and one step of a small dictionary are run four times, as they are and with each of the
three doubled. An allocation grows with the numbers whose doubling doubles it; that gives its size at any shape, and the order in which
allocations come and go gives the peak. The step is the first one of a new dictionary, which is when most codes are dense.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch

from assay.codes import DenseSupport
from assay.dictionary import Dictionary
from assay.errors import ConfigError
from assay.run.needs.tally import Tally
from assay.training import TrainConfig
from assay.training.trainer import Trainee
from assay.units import Scale

ROWS, LATENTS, DEPTH = 64, 512, 16
"""The small shape, where the real one is no smaller still."""
ROOM = 4
"""The small dictionary has at least so many times the latents that any setting counts: clipped to the width, a top-k would grow with it."""
MOST = 1 << 13
"""The small dictionary has no more latents than this, so that it stays small; a larger top-k is taken to grow with the width."""
ATTEMPTS = 4
"""Draws of the small batch, until all four runs take the same path; rules that depend on the data may not."""
FLOAT = 4


@dataclass(frozen=True)
class Shape:
    """Rows B, latents L and width D of the activations."""

    rows: int
    latents: int
    depth: int

    def sizes(self) -> tuple[int, int, int]:
        """The three numbers."""
        return self.rows, self.latents, self.depth

    def doubled(self) -> tuple[Shape, Shape, Shape]:
        """This shape with each number doubled in turn."""
        return (
            replace(self, rows=2 * self.rows),
            replace(self, latents=2 * self.latents),
            replace(self, depth=2 * self.depth),
        )


@dataclass(frozen=True)
class Take:
    """One run of a start and a step: each allocation in bytes, and when it came and went."""

    sizes: tuple[int, ...]
    events: tuple[tuple[int, int], ...]
    start: int
    """Where among the events the fit to a sample begins; before it the dictionary is built."""
    step: int
    """Where the step begins."""
    kept: frozenset[int]
    """Allocations that are there at the end."""
    parameters: frozenset[int]
    """Those of them that are parameters and buffers."""
    dense: bool
    """Whether the codes of the step were dense."""


@dataclass(frozen=True)
class Rehearsal:
    """A start and a step at a small shape, and how each allocation grows."""

    shape: Shape
    take: Take
    growth: tuple[tuple[int, ...], ...]
    """For each allocation the powers of rows, latents and depth."""

    @property
    def dense(self) -> bool:
        """Whether the first steps have dense codes."""
        return self.take.dense

    def parameters(self, latents: int, depth: int) -> int:
        """Bytes of parameters and buffers."""
        return self._total(self.take.parameters, latents, depth)

    def kept(self, latents: int, depth: int) -> int:
        """Bytes that stay through training: parameters, moments, counts of silent tokens."""
        return self._total(self.take.kept, latents, depth)

    def start(self, sample: int, latents: int, depth: int) -> int:
        """Bytes that starting from a sample takes at most, beside the sample and what stays."""
        return self._most(self.take.events[self.take.start : self.take.step], Shape(sample, latents, depth))

    def step(self, rows: int, latents: int, depth: int) -> int:
        """Bytes that a step takes at most, beside its rows and what stays."""
        return self._most(self.take.events[self.take.step :], Shape(rows, latents, depth))

    def _total(self, chosen: Iterable[int], latents: int, depth: int) -> int:
        sizes = self._sizes(Shape(self.shape.rows, latents, depth))
        return round(sum(sizes[number] for number in chosen))

    def _most(self, events: Iterable[tuple[int, int]], shape: Shape) -> int:
        sizes, now, most = self._sizes(shape), 0.0, 0.0
        for number, sign in events:
            if number not in self.take.kept:
                now += sign * sizes[number]
                most = max(most, now)
        return round(most)

    def _sizes(self, shape: Shape) -> list[float]:
        factors = [new / old for new, old in zip(shape.sizes(), self.shape.sizes(), strict=True)]
        return [
            size * math.prod(factor**power for factor, power in zip(factors, powers, strict=True))
            for size, powers in zip(self.take.sizes, self.growth, strict=True)
        ]


_MADE: dict[str, Rehearsal] = {}


def rehearse(settings: Dictionary.Config, train: TrainConfig, *, batch: int, sample: int) -> Rehearsal:
    """The rehearsal of a dictionary with these settings, as `brief` as they can be, in such a training; they share one where they differ in
    width, seed and dial alone.

    Latents can die, be resampled and learn from the error (AuxK) where training is longer than `dead_window`: half of them are taken as
    dead then.
    """
    small = Shape(
        min(ROWS, batch, sample),
        min(max(LATENTS, ROOM * max(_counts(settings), default=0)), MOST, settings.width),
        min(DEPTH, settings.d_in),
    )
    settings, dies = settings.brief(), train.steps * batch >= train.dead_window
    key = repr((small, dies, settings.owner.name, _without_shape(settings), _habits(train)))
    if key not in _MADE:
        _MADE[key] = _rehearsed(settings, train, small, dies)
    return _MADE[key]


def _rehearsed(settings: Dictionary.Config, train: TrainConfig, small: Shape, dies: bool) -> Rehearsal:
    with suppress(ConfigError):  # settings that fit one width only, such as a list of widths that must add up
        for seed in range(ATTEMPTS):
            takes = [_take(settings, train, shape, dies, seed) for shape in (small, *small.doubled())]
            if all(take.events == takes[0].events for take in takes):
                sizes = zip(*(take.sizes for take in takes), strict=True)
                return Rehearsal(
                    small, takes[0], tuple(tuple(_power(base, one) for one in more) for base, *more in sizes)
                )
    whole = replace(small, latents=min(settings.width, MOST))
    try:
        take = _take(settings, train, whole, dies, 0)
    except ConfigError:
        whole = replace(small, latents=settings.width)
        take = _take(settings, train, whole, dies, 0)
    return Rehearsal(whole, take, tuple(_likeliest(size, whole) for size in take.sizes))


def _take(settings: Dictionary.Config, train: TrainConfig, shape: Shape, dies: bool, seed: int) -> Take:
    """Count one start and one step. Rows are as long as real ones, E||x||^2 = 1, so that as many latents fire: thresholds count in that."""
    generator = torch.Generator().manual_seed(seed)
    resized = settings.resized(d_in=shape.depth, width=shape.latents)
    rows = torch.randn(shape.rows, resized.columns, generator=generator) / math.sqrt(shape.depth)
    x, target = rows[:, : shape.depth], rows[:, resized.columns - resized.d_out :]
    unscaled = Scale(torch.zeros(shape.depth), torch.ones(()))
    with Tally() as tally:
        dictionary = resized.build()
        trainee = Trainee(dictionary, train)
        start = len(tally.events)
        dictionary.start(rows, unscaled)
        begin = len(tally.events)
        silent = trainee.dead.silent[: shape.latents // 2]
        if dies:
            silent.fill_(train.dead_window)
        step, result, loss = trainee.loss(x, 0.0, target)
        trainee.learn(result, loss, train.learning_rate)
        trainee.measure(step, result, loss.detach())
        if dies and train.resample_at:
            silent.fill_(train.dead_window)
            trainee.resample(step, result, generator)
        dense = isinstance(result.codes.support, DenseSupport)
        del step, result, loss
        parameters = {tally.number(tensor) for tensor in dictionary.state_dict().values()}
        return Take(
            tuple(tally.sizes),
            tuple(tally.events),
            start,
            begin,
            frozenset(tally.alive()),
            frozenset(number for number in parameters if number is not None),
            dense,
        )


def _power(base: int, doubled: int) -> int:
    """How an allocation grows with a number whose doubling makes it so large."""
    return max(round(math.log2(doubled / base)), 0) if base and doubled else 0


def _likeliest(size: int, shape: Shape) -> tuple[int, ...]:
    """The powers that explain a size best, where the four runs can't be compared."""
    powers = list(product((0, 1), repeat=3))[:-1]

    def miss(power: Sequence[int]) -> float:
        numbers = math.prod(number**one for number, one in zip(shape.sizes(), power, strict=True))
        return abs(math.log(max(size, 1) / (FLOAT * numbers)))

    return min(powers, key=miss)


def _counts(settings: Dictionary.Config) -> Iterator[int]:
    """Settings that count something: latents, as a rule."""
    for name, value in settings.resolved().items():
        if type(value) is int and name not in {"d_in", "width", "seed"}:
            yield value


def _without_shape(settings: Dictionary.Config) -> dict[str, Any]:
    """What is left of the settings without width, seed, and a dial that weighs and doesn't count; d_in scales the rows."""
    weighs = {settings.dial.partition(".")[0]} if isinstance(settings.dial_value(), float) else set()
    return {name: value for name, value in settings.resolved().items() if name not in {"width", "seed", *weighs}}


def _habits(train: TrainConfig) -> tuple[Any, ...]:
    """Settings of the training that decide what is allocated."""
    return train.beta1 > 0, train.clip_norm is not None, train.compute_dtype, bool(train.resample_at)
