"""assay harvest RUN: collect activations into shards."""

from __future__ import annotations

from assay.cli.arguments import Changes, Folder, RunName, Switch, open_run
from assay.cli.live import counting
from assay.cli.shortage import advised
from assay.run import stages
from assay.run.estimate import estimate, say


def run(run: RunName, changes: Changes = [], out: Folder = None, dry_run: Switch = False) -> int:  # noqa: B006 - tyro reads it
    """Harvest.

    Args:
        run: A TOML file, a recipe, or the folder of a run.
        changes: Settings to change, such as harvest.tokens=500000.
        out: Folder of the run; runs/NAME by default.
        dry_run: Say tokens, bytes, memory and time, and stop.
    """
    workspace = open_run(run, changes, out)
    if dry_run:
        say(estimate(workspace, ["harvest"], sweep=False))
        return 0
    with advised(workspace, "harvest"), counting("harvest", "tokens") as count:
        store = stages.run_harvest(workspace, count)
    print(f"{store.rows:,} rows of {workspace.run.harvest.site}, {store.width} wide, in {workspace.store_folder()}")
    return 0
