"""assay diff RUN: what do its crosscoders find in one site, or model, and not in the other?"""

from __future__ import annotations

from assay.cli.arguments import Names, RunFolder, Switch, print_each, run_folder
from assay.run.difference import Difference, differences

SHOWN = 12
"""Latents that are listed for a site."""


def run(run: RunFolder, of: Names = [], least: float = 0.9, json: Switch = False) -> int:  # noqa: B006 - tyro reads it
    """Diff.

    Args:
        run: Folder of a run; a name stands for runs/NAME.
        of: Crosscoders to look at; by default all.
        least: Share of an atom's norm in one site from which on a latent looks exclusive.
        json: Print everything as JSON, all latents too.
    """
    print_each(differences(run_folder(run), of, least), said, json)
    return 0


def said(found: Difference) -> str:
    """A crosscoder in words."""
    shared = found.living - sum(part.looks for part in found.parts)
    lines = [
        f"{found.arm}, {found.living:,} living latents, {shared:,} of them for more than one site; "
        f"one site has {found.largest:.0%} of a latent's norm at the most"
    ]
    for part in found.parts:
        false = part.looks - len(part.own)
        some = " ".join(map(str, part.own[:SHOWN])) + (" ..." if len(part.own) > SHOWN else "")
        lines.append(
            f"  {part.site}: {part.looks:,} look exclusive (at least {found.least:.0%} of the norm), "
            f"{false:,} of them are in another site too; its own: {some or 'none'}"
        )
    return "\n".join(lines)
