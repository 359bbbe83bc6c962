"""The log of drills, which only grows, and the table that docs/reliability.md makes of it.

python -m tests.drill_log     write the table anew
"""

from __future__ import annotations

import datetime
import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOG, PAGE = ROOT / "docs" / "results" / "drills.jsonl", ROOT / "docs" / "reliability.md"
COUNTS = {
    "kill_points": ("points struck", "wrong"),
    "random_kills": ("kills at random moments", "mismatches"),
    "corruptions": ("corruptions", "silent"),
    "mutants": ("faults put in on purpose", "caught"),
}
"""Of a line of the crash harness: what was counted, and what came of it."""


def commit() -> str:
    """The commit of the tree, with "+" when the package or its tests differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "src", "tests") else "")


def append(what: str, *, at: str, seed: int, seconds: float, **counts: Any) -> dict[str, Any]:
    """Add the line of a drill that began at the commit `at`."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    line = {"what": what, **counts, "seed": seed, "seconds": round(seconds, 1), "commit": at, "date": today}
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with open(LOG, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return line


def table(lines: Sequence[dict[str, Any]]) -> str:
    """What all drills together counted, and what was wrong among it."""
    rows = []
    for key, (words, outcome) in COUNTS.items():
        if some := [line for line in lines if key in line]:
            rows.append((words, sum(line[key] for line in some), sum(line[outcome] for line in some), outcome, some))
    for what in dict.fromkeys(line["what"] for line in lines if "examples" in line):
        some = [line for line in lines if line["what"] == what]
        bad = sum(line["tracebacks"] for line in some)  # a hang is one of them
        rows.append((f"fuzzed {what}", sum(line["examples"] for line in some), bad, "tracebacks or hangs", some))
    body = [
        f"| {words} | {count:,} | {bad:,} {outcome} | {_each(some, 'seed')} | {_each(some, 'commit')} |"
        for words, count, bad, outcome, some in rows
    ]
    return "\n".join(
        ["| in all drills | number | outcome | seeds | commits |", "| --- | ---: | ---: | --- | --- |", *body]
    )


def _each(lines: Sequence[dict[str, Any]], key: str) -> str:
    return ", ".join(dict.fromkeys(f"`{line[key]}`" if key == "commit" else str(line[key]) for line in lines))


def read() -> list[dict[str, Any]]:
    """All lines."""
    return [json.loads(line) for line in LOG.read_text(encoding="utf-8").splitlines()]


def filled(page: str) -> str:
    """The page with the table of the log."""
    pattern = re.compile(r"(<!-- drills -->\n).*?(<!-- /drills -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}{table(read())}\n{found[2]}", page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
