"""assay report RUN: write the page."""

from __future__ import annotations

from assay.cli.arguments import Changes, Folder, RunName, Switch, open_run, print_json
from assay.cli.shortage import advised
from assay.run import stages


def run(run: RunName, changes: Changes = [], out: Folder = None, json: Switch = False) -> int:  # noqa: B006 - tyro reads it
    """Report.

    Args:
        run: A TOML file, a recipe, or the folder of a run.
        changes: Settings to change, such as latents.count=24.
        out: Folder of the run; runs/NAME by default.
        json: Print report.json as well.
    """
    workspace = open_run(run, changes, out)
    with advised(workspace, "evaluate", sweep=True):
        stages.run_evaluate(workspace)
    with advised(workspace, "examples", sweep=True):
        stages.run_examples(workspace)
    page = stages.run_report(workspace, command=f"assay report {run}")
    if json:
        from assay.disk import read_sealed

        print_json(read_sealed(page.with_suffix(".json")))
    else:
        print(page)
    return 0
