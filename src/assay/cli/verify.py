"""assay verify FOLDER: read everything back and compare it with what was written; with --repair, make anew what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from assay.cli.arguments import Switch, print_json
from assay.cli.live import counting, note
from assay.run import verify


def run(folder: Annotated[Path, tyro.conf.Positional], repair: Switch = False, json: Switch = False) -> int:
    """Verify.

    Args:
        folder: A run, a store of activations, or a saved dictionary; anything that assay wrote.
        repair: Make anew what is damaged, and nothing else; identical to what was lost.
        json: Print the findings as JSON.
    """
    verdict = verify.verify(folder)
    if repair and verdict.findings:
        for finding in verdict.findings:
            note(finding.what)
        with counting("harvest", "tokens") as count:
            verify.repair(folder, count)
        verdict = verify.verify(folder)
    problems = [finding.what for finding in verdict.findings]
    if json:
        print_json({"checked": verdict.checked, "problems": problems})
    else:
        print("\n".join(problems) or f"everything is as it was written: {verdict.checked} things checked")
    return 3 if problems else 0
