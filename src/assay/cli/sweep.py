"""assay sweep RUN: train each dictionary at every value of its dial and every seed, on one stream of activations."""

from __future__ import annotations

from assay.cli.arguments import Changes, Folder, RunName, Switch
from assay.cli.train import train_arms


def run(run: RunName, changes: Changes = [], out: Folder = None, dry_run: Switch = False) -> int:  # noqa: B006 - tyro reads it
    """Sweep.

    Args:
        run: A TOML file, a recipe, or the folder of a run.
        changes: Settings to change, such as sweep.gated=[0.2,0.3] or seeds=[0,1,2].
        out: Folder of the run; runs/NAME by default.
        dry_run: Say tokens, bytes, memory and time, and stop.
    """
    return train_arms(run, changes, out, dry_run, sweep=True)
