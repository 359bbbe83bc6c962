"""What the crosscoders of a run say differs between the sites, or models, that they read: which latents are for one of them alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from assay.analysis.model_diff import LatentScaling, latent_scaling
from assay.config import Config
from assay.dictionary import Dictionary
from assay.errors import ConfigError, UnknownName, shown
from assay.record import Number
from assay.run.stages import Workspace, trained_arms

ROWS, CHUNK = 65_536, 2048
"""Harvested rows that latents are scaled on."""


class Part(Config):
    """One of the sites that a crosscoder reads."""

    site: str
    """As the run names it."""
    looks: int
    """Latents with nearly all of their norm in it."""
    own: tuple[int, ...]
    """Those of them that latent scaling finds in no other part."""


class Difference(Config):
    """What one crosscoder tells apart."""

    arm: str
    living: int
    """Latents that fire on the rows."""
    least: float
    """Share of an atom's norm from which on a latent looks exclusive."""
    largest: Number
    """Largest share that one part has of a living latent's norm; of two parts, 1/2 is the least."""
    parts: tuple[Part, ...]


def differences(folder: Path, of: Sequence[str] = (), least: float = 0.9) -> Iterator[Difference]:
    """Each crosscoder of a run, or those named. Raises MissingMaterial, UnknownName, ConfigError."""
    workspace = Workspace.open(folder)
    found = {path.name: Dictionary.load(path) for path in trained_arms(workspace)}
    if unknown := [name for name in of if name not in found]:
        raise UnknownName(
            f"no dictionary is called {shown(unknown[0])}", expected=f"one of {', '.join(found)}", do="Correct it."
        )
    chosen = {name: found[name] for name in of or (name for name, each in found.items() if len(each.config.parts) > 1)}
    if not chosen:
        raise ConfigError(
            f"{folder} has no crosscoder",
            expected="a dictionary of several sites, or models",
            do='Train a crosscoder at harvest.site = "a + b".',
        )
    if not 0.5 < least <= 1:
        raise ConfigError(f"least is {least:g}", expected="above 0.5, to 1", do="0.9 is usual.")
    rows = workspace.store.sample(min(ROWS, workspace.store.rows))
    for name, dictionary in chosen.items():
        yield difference(name, latent_scaling(dictionary, rows.split(CHUNK)), workspace.run.harvest.sites, least)


def difference(arm: str, scaling: LatentScaling, sites: Sequence[str], least: float) -> Difference:
    """What the norms of an arm's atoms, and latent scaling, say of each site; latents that never fired are left out."""
    living = ~scaling.error.isnan()
    return Difference(
        arm=arm,
        living=int(living.sum()),
        least=least,
        largest=float(scaling.shares[living].max()) if living.any() else 0.0,
        parts=tuple(_part(scaling, place, site, least) for place, site in enumerate(sites)),
    )


def _part(scaling: LatentScaling, place: int, site: str, least: float) -> Part:
    looks = scaling.exclusive(least) & (scaling.own() == place) & ~scaling.error.isnan()
    own = looks & ~scaling.false_exclusive(least)
    return Part(site=site, looks=int(looks.sum()), own=tuple(own.nonzero().view(-1).tolist()))
