"""Fuzzing by hand; see docs/fuzzing.md. Each drill appends a line to docs/results/drills.jsonl.

python -m tests.fuzz configurations --examples 100000 --seed 1     settings, by every route
python -m tests.fuzz files --minutes 60 --seed 1                   every file target, guided by atheris (the extra `fuzz`)
python -m tests.fuzz files --minutes 60 --seed 1 --chance          the same without it
python -m tests.fuzz guided tensor_file --seconds 600 --seed 1     one target
python -m tests.fuzz corpus                                        write the corpus anew
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz import drills


def main(arguments: list[str]) -> int:
    """Run a drill; returns 1 when it found something."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    settings = verbs.add_parser("configurations", help="settings, by every route")
    settings.add_argument("--examples", type=int, default=100_000)
    files = verbs.add_parser("files", help="every file target")
    files.add_argument("targets", nargs="*", help="all by default")
    files.add_argument("--minutes", type=float, default=60.0)
    files.add_argument("--chance", action="store_true", help="mutations by chance, without atheris")
    for engine in ("guided", "chance"):
        one = verbs.add_parser(engine, help="one file target")
        one.add_argument("target")
        one.add_argument("--seconds", type=float, default=600.0)
    for each in verbs.choices.values():
        each.add_argument("--seed", type=int, default=0)
    verbs.add_parser("corpus", help="write the whole and the hostile files anew")
    verbs.add_parser("sizes", help="memory and time of large whole files")
    asked = parser.parse_args(arguments)
    if asked.verb == "corpus":
        from tests.fuzz import corpus

        corpus.write()
        return 0
    if asked.verb == "sizes":
        from tests.fuzz import sizes

        with tempfile.TemporaryDirectory() as name:
            sizes.table(Path(name))
        return 0
    if asked.verb == "configurations":
        return drills.configurations(asked.examples, asked.seed)
    if asked.verb == "files":
        return drills.files(asked.minutes, asked.seed, asked.targets, guided=not asked.chance)
    return {"guided": drills.guided, "chance": drills.chance}[asked.verb](asked.target, asked.seconds, asked.seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
