"""assay verify FOLDER: read everything back and compare it with what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from assay import disk
from assay.activations.store import verify_store
from assay.cli.arguments import Switch, print_json
from assay.errors import MissingMaterial
from assay.folders import is_folder


def run(folder: Annotated[Path, tyro.conf.Positional], json: Switch = False) -> int:
    """Verify.

    Args:
        folder: A run, a store of activations, or a saved dictionary; anything that assay wrote.
        json: Print the findings as JSON.
    """
    if not is_folder(folder):
        raise MissingMaterial(f"there is no folder {folder}", expected="one that assay wrote", do="Check the path.")
    stores = sorted(path.parent for path in folder.rglob("store.json"))
    published = sorted(path.parent for path in folder.rglob(disk.MANIFEST))
    problems = [problem for store in stores for problem in verify_store(store)]
    problems += [problem for target in published for problem in disk.check_manifest(target)]
    checked = len(stores) + len(published)
    if not checked:
        raise MissingMaterial(
            f"nothing in {folder} was written by assay", expected="a run, a store or a dictionary", do="Check the path."
        )
    if json:
        print_json({"checked": checked, "problems": problems})
    else:
        print("\n".join(problems) or f"folders checked, all as they were written: {checked}")
    return 3 if problems else 0
