"""docs/dictionaries.md, which compares all variants, and a page and a plot a variant: all made, nothing written by hand."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from assay.dictionary import Dictionary, Weight
from benchmarks import results
from benchmarks.family import planted, real
from benchmarks.family.dials import at_l0
from benchmarks.family.plot import plot
from benchmarks.results import ROOT, Row

PAGE, FOLDER = ROOT / "docs" / "dictionaries.md", ROOT / "docs" / "dictionaries"
RESULTS = ROOT / "docs" / "results"
BESIDE = ("gated", "relu", "topk")
RECOVERED = 0.9
"""MMCS that default settings should reach on planted data."""
HEAD = """# Dictionaries

Every registered variant on the same activations, in the same order, with the same budget. Made by `make family`; a page a variant
follows from its source, its settings and these results. Add one file to `src/assay/dictionaries` and it is in here
([variants.md](variants.md)).

x is a scaled activation: the mean of a sample is taken off, and E||x||² = 1. Losses are summed over the width and averaged over the
batch. The dial is the one setting that a sweep turns; all others are defaults.

Each is shown as a plain dictionary here: a transcoder's target is the row that it reads, a crosscoder has one site, and nobody asks the
model while `end_to_end` trains, which makes it ReLU. What they are for is tried in [claims.md](claims.md), and recipes `transcoder`,
`crosscoder` and `end_to_end` run them at their own work.
"""


def write() -> None:
    """Write all pages."""
    found = {part: results.read(RESULTS / f"family_{part}.json") for part in ("planted", "real")}
    claims = _claims()
    PAGE.write_text(comparison(found), encoding="utf-8")
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for name in Dictionary.registry.names():
        (FOLDER / f"{name}.md").write_text(variant_page(name, found, claims), encoding="utf-8")
        if any(row["variant"] == name for row in found["planted"]["rows"]):
            (FOLDER / f"{name}.svg").write_text(plot(found["planted"]["rows"], name), encoding="utf-8")


def comparison(found: dict[str, dict[str, Any]]) -> str:
    """The page that compares."""
    parts = [HEAD]
    titles = {
        "planted": f"## On planted data, at L0 {planted.L0:g}\n\n{_about(planted)}",
        "real": f"## On a language model, at L0 {real.L0:g}\n\n{_about(real)}",
    }
    for part, title in titles.items():
        parts.append(f"{title}\n\n{table(part, found[part]['rows'])}\n")
        if found[part]["rows"]:
            meta = found[part]["meta"]
            parts.append(
                f"*{meta['date']}, {meta['machine']}; `make family`*, [results/family_{part}.json](results/family_{part}.json)\n"
            )
    return "\n".join(parts)


def table(part: str, rows: Sequence[Row], names: Sequence[str] | None = None) -> str:
    """A row a variant: figures where it has the L0, mean over the seeds and in brackets the smallest and the largest."""
    module = {"planted": planted, "real": real}[part]
    keys, registered = module.KEYS, Dictionary.registry.names()
    lines = [f"| variant | {' | '.join(key.replace('_', ' ') for key in keys)} |", f"| --- |{' ---: |' * len(keys)}"]
    shown = {name: figures(module, [row for row in rows if row["variant"] == name]) for name in names or registered}
    for name in sorted(shown, key=lambda name: -_first(shown[name], keys[0])):
        cells = [_spread([seed[key] for seed in shown[name]]) for key in keys] if shown[name] else [_why(rows, name)]
        cells += [""] * (len(keys) - len(cells))
        lines.append(f"| [{name}]({'' if names else 'dictionaries/'}{name}.md) | {' | '.join(cells)} |")
    return "\n".join(lines)


def figures(module: Any, rows: Sequence[Row]) -> list[dict[str, float]]:
    """Figures at the common L0, for each seed that reaches it."""
    seeds = sorted({row["seed"] for row in rows})
    found = [at_l0([row for row in rows if row["seed"] == seed], module.L0, module.KEYS) for seed in seeds]
    return [each for each in found if each is not None]


def variant_page(name: str, found: dict[str, dict[str, Any]], claims: Sequence[Row]) -> str:
    """A variant's page."""
    variant = Dictionary.registry.named(name)
    module = inspect.getdoc(sys.modules[variant.__module__]) or ""
    doc = inspect.cleandoc(variant.__doc__ or "")
    parts = [
        f"# {name}",
        module,
        f"Paper: {_link(variant.paper)}. Source: [{name}.py]({_source(variant)}).",
        f"```\n{doc}\n```",
    ]
    parts += [f"## Settings\n\n{_settings(variant)}", *_results(variant, found)]
    parts += _tried([row for row in claims if row["variant"] == name])
    return "\n\n".join(parts) + "\n"


def _results(variant: type[Dictionary], found: dict[str, dict[str, Any]]) -> list[str]:
    """Plot, recovery and the variant's rows beside those of the best known."""
    own = [row for row in found["planted"]["rows"] if row["variant"] == variant.name]
    if not own:
        return []
    picture = f"![Explained variance against L0 on planted data]({variant.name}.svg)"
    beside = [variant.name, *(other for other in BESIDE if other != variant.name)]
    return [
        "## Results",
        picture,
        _recovery(variant, own),
        f"On planted data, at L0 {planted.L0:g}:",
        table("planted", found["planted"]["rows"], beside),
        f"On a language model, at L0 {real.L0:g}:",
        table("real", found["real"]["rows"], beside),
        "How it was measured, and all others: [dictionaries.md](../dictionaries.md).",
    ]


def _tried(claims: Sequence[Row]) -> list[str]:
    """The claims of the paper, and what came of them."""
    if not claims:
        return []
    lines = ["| claim | figure | mean (low to high) | target | verdict |", "| --- | --- | ---: | ---: | --- |"]
    for row in claims:
        figure = f"{row['value']:.3g} ({row['low']:.3g} to {row['high']:.3g})"
        cells = row["claim"], row["metric"], figure, row["target"], row["verdict"]
        lines.append(f"| {' | '.join(map(_escaped, cells))} |")
    return ["## Claims of the paper, tried", "\n".join(lines), "Settings and seeds: [claims.md](../claims.md)."]


def best_recovery(rows: Sequence[Row]) -> float:
    """MMCS at the best place of the dial, mean over the seeds there."""
    dials = {row["dial"] for row in rows}
    return max(fmean(row["mmcs"] for row in rows if row["dial"] == dial) for dial in dials)


def _recovery(variant: type[Dictionary], rows: Sequence[Row]) -> str:
    best = best_recovery(rows)
    said = f"With default settings and the best place of its dial it recovers the planted directions with an MMCS of {best:.3f}"
    if not variant.Config().resized(d_in=8, width=64).build().learns():
        return f"{said}; it is a baseline that learns nothing from gradients."
    return f"{said}." if best >= RECOVERED else f"{said}, below {RECOVERED}; the description above says why."


def _settings(variant: type[Dictionary]) -> str:
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for name, field in variant.Config.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Weight):
            shown = f"{default.value:.4g}" + (f", warm-up {default.warmup:g}" if default.warmup else "")
        else:
            shown = f"{default:,}" if isinstance(default, int) and not isinstance(default, bool) else str(default)
        dial = " (the dial)" if variant.Config.dial.partition(".")[0] == name else ""
        meaning = _escaped(" ".join((field.description or "").split()))
        lines.append(f"| `{name}`{dial} | {shown} | {meaning} |")
    return "\n".join(lines)


def _about(module: Any) -> str:
    """What a module's header says of its setting."""
    return " ".join((inspect.getdoc(module) or "").partition("\n\n")[2].split())


def _claims() -> list[Row]:
    paths = [RESULTS / "claims.json", *sorted((RESULTS / "language").glob("*.json"))]
    return [row for path in paths if path.exists() for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]


def _link(paper: str) -> str:
    if match := re.fullmatch(r"arXiv:(\d+\.\d+)", paper):
        return f"[{paper}](https://arxiv.org/abs/{match[1]})"
    return f"[{paper}](https://{paper})" if re.match(r"[\w.-]+\.\w+/", paper) else paper


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _source(variant: type[Dictionary]) -> str:
    return f"../../src/assay/dictionaries/{Path(inspect.getfile(variant)).name}"


def _first(seeds: Sequence[dict[str, float]], key: str) -> float:
    return fmean(seed[key] for seed in seeds) if seeds else -1e9


def _spread(values: Sequence[float]) -> str:
    return f"{fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _why(rows: Sequence[Row], name: str) -> str:
    found = [row["l0"] for row in rows if row["variant"] == name]
    return f"its L0 went from {min(found):.3g} to {max(found):.3g}" if found else "not measured"
