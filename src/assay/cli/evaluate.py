"""assay evaluate RUN: measure every trained dictionary of a run on held-out documents, and try some on tasks."""

from __future__ import annotations

from assay.cli.arguments import Changes, Folder, RunName, Switch, open_run, print_comparisons, print_json
from assay.cli.live import counting, note
from assay.cli.shortage import advised
from assay.reports import no_loss_to_recover, outcome_table, text_table
from assay.run import kept, stages, suites
from assay.run.needs.estimate import estimate, say
from assay.run.suites import SuiteName


def run(
    run: RunName,
    changes: Changes = [],  # noqa: B006 - tyro reads it
    out: Folder = None,
    suite: SuiteName = "core",
    dry_run: Switch = False,
    json: Switch = False,
) -> int:
    """Evaluate.

    Args:
        run: A TOML file, a recipe, or the folder of a run.
        changes: Settings to change, such as evaluate.tokens=50000.
        out: Folder of the run; runs/NAME by default.
        suite: core measures every dictionary; probing and interp try those of suites.arms on tasks; all does everything.
        dry_run: Say tokens, bytes, memory and time, and stop.
        json: Print the records as JSON.
    """
    workspace = open_run(run, changes, out)
    if dry_run:
        if suite in ("core", "all"):
            say(estimate(workspace, ["evaluate"], sweep=True))
        if suite != "core":
            print(suites.overview(suites.plan(workspace, suite)))
        return 0
    if suite in ("core", "all"):
        with advised(workspace, "evaluate", sweep=True), counting("evaluate", "tokens") as count:
            stages.run_evaluate(workspace, count)
    if suite != "core":
        planned = suites.plan(workspace, suite)
        note(suites.overview(planned))
        for outcome in suites.run_suite(workspace, planned, note):
            note(f"{outcome.task}, {outcome.arm}: {outcome.seconds:.0f} s")
    measured = kept.read_measurements(workspace.folder)
    assert measured is not None
    if json:
        print_json(measured.resolved())
        return 0
    if suite in ("core", "all"):
        print(text_table(measured.records, baselines=measured.baselines))
        if warning := no_loss_to_recover(measured.records):
            print(warning)
        print_comparisons(workspace.folder)
    if suite != "core":
        print(outcome_table(measured.outcomes))
    return 0
