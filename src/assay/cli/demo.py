"""assay demo: the whole path on the packaged model, from nothing to a page."""

from __future__ import annotations

from assay.cli.arguments import Changes, Folder, Switch, open_run, print_comparisons
from assay.cli.live import counting, note, prepare_kernels, watch
from assay.cli.shortage import advised
from assay.reports import text_table
from assay.run import stages
from assay.run.needs.estimate import estimate, say
from assay.training.signals import stop_requests


def run(changes: Changes = [], out: Folder = None, dry_run: Switch = False) -> int:  # noqa: B006 - tyro reads it
    """Run the demo; run again it resumes, or does nothing.

    Args:
        changes: Settings to change, such as train.steps=1000.
        out: Folder of the run; runs/demo by default.
        dry_run: Say tokens, bytes, memory and time, and stop.
    """
    workspace = open_run("demo", changes, out)
    if dry_run:
        say(estimate(workspace, ["harvest", "train", "evaluate", "examples"], sweep=True))
        return 0
    with advised(workspace, "harvest"), counting("harvest", "tokens") as count:
        stages.run_harvest(workspace, count)
    prepare_kernels()
    with advised(workspace, "train", sweep=True), stop_requests() as stop:
        watch(stages.run_train(workspace, sweep=True, stop=stop), workspace.run.train.steps)
    with advised(workspace, "evaluate", sweep=True), counting("evaluate", "tokens") as count:
        measured = stages.run_evaluate(workspace, count)
    note("finding where latents fire")
    with advised(workspace, "examples", sweep=True):
        stages.run_examples(workspace)
    page = stages.run_report(workspace, command=" ".join(["assay demo", *(f"--set {change}" for change in changes)]))
    print(text_table(measured.records, baselines=measured.baselines))
    print_comparisons(workspace.folder)
    verbs = ["harvest demo", "sweep demo", "evaluate demo", "report demo", f"verify {workspace.folder}"]
    print("\nThe same in five commands: " + "; ".join(f"assay {verb}" for verb in verbs))
    print(f"Report: {page}")
    return 0
