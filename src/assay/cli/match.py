"""assay match RUN: which latents do two seeds, or two widths, have in common?"""

from __future__ import annotations

from assay.cli.arguments import Names, RunFolder, Switch, print_each, run_folder
from assay.run.stability import Pair, compare_atoms


def run(run: RunFolder, of: Names = [], json: Switch = False) -> int:  # noqa: B006 - tyro reads it
    """Match.

    Args:
        run: Folder of a run; a name stands for runs/NAME.
        of: Dictionaries to compare, such as gated-0.25-s0 gated-0.25-s1; by default seeds of one setting, or else widths.
        json: Print everything as JSON.
    """
    print_each(compare_atoms(run_folder(run), of), said, json)
    return 0


def said(pair: Pair) -> str:
    """A pair in words."""
    lines = [
        f"{pair.first} and {pair.second}, {pair.latents[0]:,} and {pair.latents[1]:,} living latents",
        f"  consistency {pair.consistency:.3f}, the mean cosine of latents matched one to one (random directions: {pair.chance:.3f})",
        f"  {pair.shared:.1%} of the matched pairs are the same direction (cosine 0.7 or more)",
        f"  {pair.exclusive[0]:.1%} of the first's and {pair.exclusive[1]:.1%} of the second's latents are near to none of the other's",
    ]
    if pair.splits:
        lines.append(
            f"  {pair.splits.split:.1%} of the narrower one's latents split; "
            f"{pair.splits.with_parent:.1%} of the wider one's have a parent"
        )
    return "\n".join(lines)
