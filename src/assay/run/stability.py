"""Which dictionaries of a run are held against each other, latent by latent: seeds of one setting, widths of one seed, or those named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from assay.analysis.splitting import find_children
from assay.analysis.stability import chance, match
from assay.config import Config
from assay.dictionary import Dictionary
from assay.errors import ConfigError, UnknownName, shown
from assay.record import Number
from assay.run.stages import Workspace, trained_arms

ROWS, CHUNK = 16_384, 4096
"""Harvested rows that tell which latents are alive, and what splits."""


class Splits(Config):
    """What becomes of a narrow dictionary's latents in a wider one."""

    split: Number
    """Share of the narrow one's living latents with two children or more."""
    with_parent: Number
    """Share of the wide one's living latents that are a child."""


class Pair(Config):
    """Two dictionaries of the same activations."""

    first: str
    second: str
    latents: tuple[int, int]
    """Living latents of each."""
    consistency: Number
    """Mean cosine of latents matched one to one (PW-MCC)."""
    chance: Number
    """The same of as many random directions."""
    shared: Number
    """Share of matched pairs with a cosine of 0.7 or more."""
    exclusive: tuple[Number, Number]
    """Share of each one's latents that are that near to none of the other's."""
    splits: Splits | None
    """Where widths differ."""


def compare_atoms(folder: Path, of: Sequence[str] = ()) -> Iterator[Pair]:
    """Pairs of a run's dictionaries, one after another. Raises MissingMaterial, UnknownName, ConfigError."""
    workspace = Workspace.open(folder)
    found = {path.name: Dictionary.load(path) for path in trained_arms(workspace)}
    rows = workspace.store.sample(min(ROWS, workspace.store.rows))
    for first, second in pairs(found, of):
        yield _pair((first, found[first]), (second, found[second]), rows)


def pairs(found: dict[str, Dictionary], of: Sequence[str] = ()) -> list[tuple[str, str]]:
    """The pairs that `of` names; otherwise seeds of one setting, and widths that share everything but the width."""
    for name in of:
        if name not in found:
            raise UnknownName(
                f"no dictionary is called {shown(name)}", expected=f"one of {', '.join(found)}", do="Name two of them."
            )
    chosen = list(combinations(of or found, 2))
    if not of:
        chosen = [(a, b) for a, b in chosen if _alike(found[a], found[b]) and _stem(a) == _stem(b)] or [
            (a, b)
            for a, b in chosen
            if found[a].name == found[b].name and found[a].config.width != found[b].config.width
        ]
    if not chosen:
        raise ConfigError(
            f"{len(of) or len(found)} dictionaries, no two of one setting",
            expected="several seeds (seeds = [0, 1, 2]) or widths",
            do="Name two with --of, or train more seeds with `assay sweep`.",
        )
    return chosen


def _alike(first: Dictionary, second: Dictionary) -> bool:
    """Equal in all settings but the seed."""
    return first.name == second.name and first.config == second.config.revised({"seed": first.config.seed})


def _stem(arm: str) -> str:
    return re.sub(r"-s\d+$", "", arm)


def _pair(first: tuple[str, Dictionary], second: tuple[str, Dictionary], rows: Tensor) -> Pair:
    alive = _alive(first[1], rows), _alive(second[1], rows)
    found = match(first[1], second[1], alive)
    latents = int(alive[0].sum()), int(alive[1].sum())
    return Pair(
        first=first[0],
        second=second[0],
        latents=latents,
        consistency=found.consistency(),
        chance=chance(first[1].config.d_out, latents),
        shared=found.shared(),
        exclusive=found.exclusive(),
        splits=_splits(first[1], second[1], rows) if first[1].config.width != second[1].config.width else None,
    )


@torch.no_grad()
def _alive(dictionary: Dictionary, rows: Tensor) -> Tensor:
    fired = torch.zeros(dictionary.config.width, dtype=torch.bool)
    for x in rows.split(CHUNK):
        fired |= dictionary.encode(dictionary.pair(x)[0]).firings() > 0
    return fired


def _splits(first: Dictionary, second: Dictionary, rows: Tensor) -> Splits:
    narrow, wide = sorted((first, second), key=lambda dictionary: dictionary.config.width)
    found = find_children(narrow, wide, (narrow.pair(x)[0] for x in rows.split(CHUNK)))
    parents = found.is_child.any(0)[found.fires.there > 0]
    return Splits(split=found.split(), with_parent=float(parents.double().mean()))
