"""What a latent is explained and judged by: short windows of text in which it fires, from weak to strong, and in which it does not.

Windows are 32 tokens around a peak. Those that explanations are made from and those that judge them share no document. Windows
without a firing are drawn in the same way around other tokens: half anywhere, half where a neighbouring latent fires, which a
description of the latent's topic alone cannot tell apart (after delphi, arXiv:2410.13928; there a window is a fixed block of the
context and may hold several documents, so that both sides can share text).

`analysis.find_firings` keeps a sample of the firings, and a window needs to know that a latent is silent at each of its tokens: here the
codes of the whole corpus are held, sparse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field

from assay.activations.order import permutation
from assay.config import Config
from assay.dictionary import Dictionary
from assay.interp.corpus import Corpus

CHUNK = 4096
"""Rows that are encoded at once."""
HIGHLIGHTED = 0.3
"""Share of the window's largest value that a token's value must exceed to count as one that the latent fires on."""

Kind = Literal["active", "random", "neighbour"]


@dataclass(frozen=True)
class Window:
    """Tokens of one document in a row, and what the latent does at each."""

    document: int
    start: int
    """Position of the first token in its document."""
    pieces: tuple[str, ...]
    values: tuple[float, ...]
    kind: Kind
    """Whether the latent fires here; if not, whether a neighbour was known to."""
    quantile: int = -1
    """Which quantile of the latent's peaks this one is in, 0 the weakest; -1 where it is silent."""

    @property
    def fires(self) -> tuple[bool, ...]:
        """Tokens whose value exceeds 0.3 of the largest here."""
        limit = HIGHLIGHTED * max(self.values)
        return tuple(value > limit for value in self.values)


@dataclass(frozen=True)
class LatentWindows:
    """Windows of one latent."""

    latent: int
    density: float
    """Share of the corpus' tokens on which it fires."""
    maximum: float
    """Its largest value in the corpus."""
    train: tuple[Window, ...]
    """What an explanation may be made from."""
    test: tuple[Window, ...]
    """What it is judged by: no document of `train` is in it."""


class WindowSettings(Config):
    """How windows are chosen."""

    length: int = Field(default=32, ge=4)
    """Tokens of a window."""
    quantiles: int = Field(default=10, ge=1)
    """Equal parts of a latent's peaks by their value, from each of which as many windows are taken."""
    explaining: int = Field(default=20, ge=1)
    """Most windows taken from each quantile to explain by: a rule from few windows lists what chance put there."""
    judging: int = Field(default=5, ge=1)
    """Most windows taken from each quantile to judge by."""
    least: int = Field(default=20, ge=2)
    """Fewest windows, of those with and of those without a firing, that a latent is explained or judged by."""
    neighbours: int = Field(default=10, ge=1)
    """Latents whose firings hard negatives are found at."""
    near: Literal["cosine", "firing"] = "cosine"
    """What makes a neighbour: the cosine of atoms, or F1 of firing on the same tokens."""


def strongest(windows: Sequence[Window], quantiles: int) -> tuple[Window, ...]:
    """Windows of the so many largest quantiles that there are, and all in which the latent is silent."""
    there = sorted({window.quantile for window in windows if window.kind == "active"})
    return tuple(window for window in windows if window.kind != "active" or window.quantile in there[-quantiles:])


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of some latents, and why others have none."""

    latents: tuple[LatentWindows, ...]
    skipped: Mapping[str, int]
    """Latents that were tried and left out, by reason."""


@dataclass(frozen=True, eq=False)
class Activity:
    """Where each of L latents fires in a corpus of N tokens: firings by latent, rows rising. Of signed codes, the positive ones."""

    rows: Int[np.ndarray, " E"]
    values: Float[np.ndarray, " E"]
    starts: Int[np.ndarray, " offsets"]
    """Where each latent's firings start [L + 1]."""
    tokens: int

    def of(self, latent: int) -> tuple[Int[np.ndarray, " F"], Float[np.ndarray, " F"]]:
        """Rows and values of a latent's firings."""
        part = slice(self.starts[latent], self.starts[latent + 1])
        return self.rows[part], self.values[part]

    @cached_property
    def counts(self) -> Int[np.ndarray, " L"]:
        """Tokens on which each latent fires."""
        return np.diff(self.starts)

    @cached_property
    def _by_row(self) -> tuple[Int[np.ndarray, " E"], Int[np.ndarray, " offsets"]]:
        latents = np.repeat(np.arange(len(self.counts)), self.counts)
        order = np.argsort(self.rows, kind="stable")
        return latents[order], np.searchsorted(self.rows[order], np.arange(self.tokens + 1))

    def firing_f1(self, latent: int) -> Float[np.ndarray, " L"]:
        """2 N_ij / (N_i + N_j): how well each latent's firing tells this one's."""
        latents, starts = self._by_row
        rows, _ = self.of(latent)
        together = np.concatenate([latents[starts[row] : starts[row + 1]] for row in rows] or [rows])
        both = np.bincount(together, minlength=len(self.counts))
        return 2 * both / np.maximum(self.counts[latent] + self.counts, 1)


@torch.no_grad()
def find_activity(dictionary: Dictionary, corpus: Corpus) -> Activity:
    """Encode the corpus. Raises ShapeMismatch."""
    parts, begin = [], 0
    for chunk in corpus.activations.split(CHUNK):
        rows, latents, values = (part.cpu().numpy() for part in dictionary.encode(chunk).entries())
        fires = values > 0
        parts.append((rows[fires] + begin, latents[fires], values[fires]))
        begin += len(chunk)
    rows, latents, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(latents, kind="stable")
    starts = np.searchsorted(latents[order], np.arange(dictionary.config.width + 1))
    return Activity(rows[order], values[order], starts, begin)


def find_windows(
    dictionary: Dictionary,
    corpus: Corpus,
    settings: WindowSettings,
    *,
    latents: Sequence[int] | None = None,
    count: int = 60,
    seed: int = 0,
) -> Windows:
    """Windows of `latents`, or of `count` latents drawn evenly from those that have enough; equal seeds, equal windows.

    A latent's windows depend on nothing but the corpus, the dictionary, the settings, the seed and the latent. Skipped latents are
    counted by reason: "dead", "few peaks" and "too common" (few windows in which it is silent).
    """
    cutter = _Cutter(dictionary, corpus, settings, seed)
    drawn = permutation(dictionary.config.width, "latents to explain", seed).tolist() if latents is None else latents
    found, skipped = [], Counter[str]()
    for latent in drawn:
        if latents is None and len(found) == count:
            break
        windows = cutter.of(latent)
        if isinstance(windows, str):
            skipped[windows] += 1
        else:
            found.append(windows)
    return Windows(tuple(found), dict(sorted(skipped.items())))


class _Cutter:
    """Cuts windows out of a corpus for one dictionary."""

    def __init__(self, dictionary: Dictionary, corpus: Corpus, settings: WindowSettings, seed: int) -> None:
        self.corpus, self.settings, self.seed = corpus, settings, seed
        self.activity = find_activity(dictionary, corpus)
        self.atoms = torch.nn.functional.normalize(dictionary.atoms.detach().float(), dim=-1)
        self.low, self.high = corpus.windows(settings.length)
        self.held_back = corpus.held_back(seed)
        self.origin = corpus.origin.numpy()

    def of(self, latent: int) -> LatentWindows | str:
        """The latent's windows, or why it has none."""
        rows, values = self.activity.of(latent)
        if not len(rows):
            return "dead"
        if len(rows) < 2 * self.settings.least:
            return "few peaks"
        peaks = self._peaks(rows, values)
        near = self._neighbours(latent)
        parts = []
        halves = ((~self.held_back, self.settings.explaining), (self.held_back, self.settings.judging))
        for part, (inside, most) in enumerate(halves):
            draw = np.random.default_rng([self.seed, latent, part])
            here = peaks[inside[rows[peaks]]]
            if len(here) < self.settings.least:
                return "few peaks"
            active = self._active(rows, values, here, most, draw)
            silent = self._silent(rows, inside, near, len(active), draw)
            if len(silent) < min(self.settings.least, len(active)):
                return "too common"
            parts.append((*active, *silent))
        density = len(rows) / self.activity.tokens
        return LatentWindows(latent, density, float(values.max()), *parts)

    def _peaks(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Firings that are the first of the largest in their own windows, as places in `rows`."""
        begin, end = np.searchsorted(rows, self.low[rows]), np.searchsorted(rows, self.high[rows])
        bounds = np.stack([begin, end], 1).ravel()
        padded, here = np.append(values, -np.inf), np.arange(len(rows))
        largest = np.maximum.reduceat(padded, bounds)[::2]
        ahead = np.maximum.reduceat(padded, np.stack([begin, np.maximum(here, begin + 1)], 1).ravel())[::2]
        return here[(values == largest) & ((begin == here) | (ahead < values))]

    def _active(
        self, rows: np.ndarray, values: np.ndarray, peaks: np.ndarray, most: int, draw: np.random.Generator
    ) -> list[Window]:
        """As many windows from each quantile of the peaks, weakest first."""
        order = peaks[np.argsort(values[peaks], kind="stable")]
        windows = []
        for quantile, members in enumerate(np.array_split(order, self.settings.quantiles)):
            taken = np.sort(draw.permutation(len(members))[:most])
            windows += [self._window(int(rows[peak]), "active", rows, values, quantile) for peak in members[taken]]
        return windows

    def _silent(
        self, rows: np.ndarray, inside: np.ndarray, near: list[int], count: int, draw: np.random.Generator
    ) -> list[Window]:
        """Windows in which the latent never fires: half of them where a neighbour does, as far as there are such; no two begin alike."""
        quiet = inside & (np.searchsorted(rows, self.low) == np.searchsorted(rows, self.high))
        fired = np.zeros_like(inside)
        for other in near:
            fired[self.activity.of(other)[0]] = True
        taken: dict[int, tuple[int, Kind]] = {}
        choices: list[tuple[np.ndarray, Kind, int]] = [
            (quiet & fired, "neighbour", count // 2),
            (quiet, "random", count),
        ]
        for eligible, kind, until in choices:
            for row in draw.permutation(np.flatnonzero(eligible)):
                if len(taken) >= until:
                    break
                taken.setdefault(int(self.low[row]), (int(row), kind))
        return [self._window(row, kind, rows[:0], np.empty(0)) for row, kind in taken.values()]

    def _neighbours(self, latent: int) -> list[int]:
        """The alive latents nearest to this one, nearest first."""
        cosines = self.settings.near == "cosine"
        near = (self.atoms @ self.atoms[latent]).cpu().numpy() if cosines else self.activity.firing_f1(latent)
        near[self.activity.counts == 0] = near[latent] = -np.inf
        order = np.argsort(-near, kind="stable")[: self.settings.neighbours]
        return [int(other) for other in order if near[other] > -np.inf]

    def _window(self, row: int, kind: Kind, rows: np.ndarray, values: np.ndarray, quantile: int = -1) -> Window:
        low, high = int(self.low[row]), int(self.high[row])
        here = np.zeros(high - low)
        part = slice(*np.searchsorted(rows, [low, high]))
        here[rows[part] - low] = values[part]
        document, start = self.origin[low].tolist()
        return Window(document, start, self.corpus.pieces[low:high], tuple(here.tolist()), kind, quantile)
