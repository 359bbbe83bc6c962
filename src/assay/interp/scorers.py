"""Whether an explanation tells where its latent fires: each scorer hides the values, asks a judge, and compares.

Where delphi (arXiv:2410.13928) is ambiguous, here: detection and fuzzing are per latent, over windows that share no document with those
the explanation is from; balanced accuracy, so that answering always the same gives 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from assay.interp.agreement import Agreement, agreement, auc, correlation
from assay.interp.judge import Judge, Shown, shown
from assay.interp.windows import Window

INTRUDERS_AMONG = 5
"""Windows of which one is the intruder: chance is 0.2."""


def detection(judge: Judge, explanation: str, windows: Sequence[Window]) -> Agreement:
    """Does the latent fire in this window? Yes is right where it fires on any token."""
    return _compared(judge.detect(explanation, shown(windows)), windows)


def fuzzing(
    judge: Judge,
    explanation: str,
    windows: Sequence[Window],
    *,
    wrong: Literal["silent", "active"] = "silent",
    moved: int = 0,
    seed: int = 0,
) -> Agreement:
    """Are the highlighted tokens those that the latent fires on? Yes is right where they are.

    Highlights are right in windows where it fires. Wrong ones are on as many random tokens: in windows where it is silent (as many as the
    mean of the others, rounded up), or with `wrong="active"` in the windows where it fires, on other tokens than those.
    `moved` shifts the right highlights by so many tokens: what still passes then does not look at where they are.
    """
    draw = np.random.default_rng([seed, len(windows)])
    active = [window for window in windows if window.kind == "active"]
    usual = math.ceil(np.mean([sum(window.fires) for window in active])) if active else 1
    right = [_highlighted(window, _moved(window.fires, moved)) for window in active]
    if wrong == "silent":
        others = [window for window in windows if window.kind != "active"]
        false = [_highlighted(window, _random((False,) * len(window.pieces), usual, draw)) for window in others]
    else:
        others = [window for window in active if not all(window.fires)]
        false = [_highlighted(window, _random(window.fires, sum(window.fires), draw)) for window in others]
    so = np.array([True] * len(right) + [False] * len(false))
    both = [*active, *others]
    probability = judge.fuzz(explanation, [*right, *false])
    return agreement(probability, so, [window.quantile for window in both], [window.kind for window in both])


def simulation(judge: Judge, explanation: str, windows: Sequence[Window]) -> float | None:
    """Pearson correlation of the judge's values with the latent's, over the tokens of all windows; None where either is constant."""
    predicted = np.concatenate(judge.simulate(explanation, shown(windows)))
    return correlation(predicted, np.concatenate([np.array(window.values) for window in windows]))


def similarity(judge: Judge, explanation: str, windows: Sequence[Window]) -> float | None:
    """AUC of the judge's probabilities alone, for judges whose probabilities have no threshold, such as cosines of embeddings."""
    return auc(judge.detect(explanation, shown(windows)), _fires(windows))


def surprisal(judge: Judge, explanation: str, windows: Sequence[Window]) -> float | None:
    """AUC of the nats a token by which the explanation makes windows likelier: those where the latent fires should gain more."""
    return auc(judge.surprisal(explanation, shown(windows)), _fires(windows))


def intruder(judge: Judge, windows: Sequence[Window], *, seed: int = 0) -> float | None:
    """Share of groups of four windows where the latent fires and one where it is silent in which the judge finds the latter; chance is 0.2.

    No explanation is used: it says how much what a latent fires on has in common. None with too few windows.
    """
    draw = np.random.default_rng([seed, len(windows)])
    active = [window for window in windows if window.kind == "active"]
    silent = [window for window in windows if window.kind != "active"]
    found = []
    for one in draw.permutation(len(silent)) if len(active) >= INTRUDERS_AMONG - 1 else []:
        group = [active[place] for place in draw.choice(len(active), INTRUDERS_AMONG - 1, replace=False)]
        place = int(draw.integers(INTRUDERS_AMONG))
        group.insert(place, silent[one])
        found.append(int(np.argmax(judge.odd(shown(group)))) == place)
    return float(np.mean(found)) if found else None


def shuffled(count: int, seed: int = 0) -> list[int]:
    """For each of `count` latents another one, whose explanation it gets in the control arm: a random cycle through all of them."""
    order = np.random.default_rng([seed, count]).permutation(count)
    other = np.empty(count, dtype=np.int64)
    other[order] = np.roll(order, 1)
    return other.tolist()


def _compared(probability: np.ndarray, windows: Sequence[Window]) -> Agreement:
    quantiles, kinds = [window.quantile for window in windows], [window.kind for window in windows]
    return agreement(probability, _fires(windows), quantiles, kinds)


def _fires(windows: Sequence[Window]) -> np.ndarray:
    return np.array([window.kind == "active" for window in windows], dtype=bool)


def _highlighted(window: Window, tokens: tuple[bool, ...]) -> Shown:
    return Shown(window.pieces, window.start, tokens)


def _moved(tokens: tuple[bool, ...], by: int) -> tuple[bool, ...]:
    """Highlights shifted to the right by so many tokens; what leaves the window comes in again at its other end."""
    return tuple(np.roll(tokens, by).tolist())


def _random(taken: tuple[bool, ...], count: int, draw: np.random.Generator) -> tuple[bool, ...]:
    """So many random tokens that are not taken (all of those, if there are fewer)."""
    free = np.flatnonzero(~np.array(taken))
    chosen = set(draw.permutation(free)[:count].tolist())
    return tuple(place in chosen for place in range(len(taken)))
