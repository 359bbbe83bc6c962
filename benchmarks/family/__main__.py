"""Every variant compared: `make family`.

python -m benchmarks.family                          planted data and the demo's activations, three seeds; what is there is kept
python -m benchmarks.family planted --only gated,relu    some, measured again
python -m benchmarks.family page                     docs/dictionaries.md and a page a variant, nothing measured

Results are saved after each variant; an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from assay.dictionary import Dictionary
from assay.errors import AssayError
from benchmarks import results
from benchmarks.family import page, planted
from benchmarks.family.real import Real
from benchmarks.results import ROOT, Row

SEEDS = (0, 1, 2)
KEY = ("variant", "seed", "dial")
FILES = {part: ROOT / "docs" / "results" / f"family_{part}.json" for part in ("planted", "real")}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=["planted", "real", "page"])
    parser.add_argument("--only", default="", help="variants, with commas between them")
    chosen = parser.parse_args(arguments)
    names = chosen.only.split(",") if chosen.only else Dictionary.registry.names()
    for part in FILES if chosen.part is None else {chosen.part} & FILES.keys():
        measure(part, names, again=bool(chosen.only))
    page.write()
    return 0


def measure(part: str, names: Sequence[str], *, again: bool) -> None:
    """Add what is missing to the results of a part, or measure some variants again."""
    points = Real(ROOT / "build" / "family").points if part == "real" else planted.points
    for name in names:
        known = {row["seed"] for row in results.read(FILES[part])["rows"] if row["variant"] == name}
        seeds = [seed for seed in SEEDS if again or seed not in known]
        if not seeds:
            continue
        started, variant = time.perf_counter(), Dictionary.registry.named(name)
        try:
            rows = list(points(variant, seeds))
        except AssayError as error:
            results.say(f"{part} {name}: {error.got}")
            continue
        save(part, name, rows)
        results.say(f"{part} {name}: {time.perf_counter() - started:.0f} s")


def save(part: str, name: str, rows: Sequence[Row]) -> None:
    """Put the rows of a variant and of seeds in the place of older ones."""
    seeds = {row["seed"] for row in rows}
    meta = results.describe("benchmarks.family", [part])
    results.drop(FILES[part], lambda row: row["variant"] == name and row["seed"] in seeds)
    results.save(FILES[part], rows, KEY, meta)


if __name__ == "__main__":
    sys.exit(main())
