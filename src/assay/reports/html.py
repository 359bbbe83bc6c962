"""The page: one file without script or network that opens from disk, under a content policy that would stop both.

All text is escaped by Jinja; only markup made in this package (SVG, token spans, the packaged style sheet) is trusted.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from assay import __version__
from assay.analysis.examples import Example, LatentPage
from assay.reports import compared, findings, plot, table, tokens
from assay.reports.document import Report
from assay.reports.families import Family, dial, families
from assay.reports.outcomes import tried
from assay.reports.quantities import EXPLAINED, GAMMA, LOSS_MEAN, LOSS_ZERO, MAIN, number, significant
from assay.reports.svg import marker, tag


def render(report: Report) -> str:
    """The report as one HTML page; equal reports give equal bytes."""
    groups = families(report.records)
    style = _packaged("report.css")
    page = _environment().from_string(_packaged("report.html.j2"))
    return page.render(
        report=report,
        version=__version__,
        style=Markup(style),
        policy=_policy(style),
        icon=_icon(),
        lead=_lead(report),
        groups=groups,
        dials=_dials(groups),
        key_figures=findings.key_figures(report.records),
        comparisons=[compared.text(comparison) for comparison in report.comparisons],
        limits=findings.limits(report.records) + _about_latents(report),
        tried=tried(report.outcomes) if report.outcomes else None,
        frontiers=_frontiers(report, groups),
        trained=[group for group in groups if any(arm in report.curves for arm in group.arms)],
        curves=_curves(report, groups),
        densities=_densities(report, groups),
        latents=[_card(latent, groups) for latent in report.latents],
        **_tables(report),
    )


def _packaged(name: str) -> str:
    return (files("assay.reports") / "templates" / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "visible": lambda value: tokens.visible(str(value)),
        "code": lambda value: tokens.visible(str(value), keep="\n"),
        "chip": tokens.chip,
        "swatch": _swatch,
        "duration": _duration,
        "plain": _plain,
    }
    return environment


def _policy(style: str) -> str:
    """Nothing may load or run; the one style sheet is named by its hash."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def _icon() -> str:
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
        '<circle cx="8" cy="8" r="7" fill="#1666b0"/><path d="M4 11L8 4l4 7z" fill="#fff"/></svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.encode()).decode()


def _lead(report: Report) -> str:
    """One sentence that says what this is."""
    count = len(report.records)
    if not count:
        return "No dictionary was measured."
    kinds = ", ".join(group.label for group in families(report.records))
    widths = sorted({record.width for record in report.records})
    latents = " to ".join(number(width, 0) for width in dict.fromkeys((widths[0], widths[-1])))
    place = " of ".join(str(report.provenance[key]) for key in ("site", "model") if key in report.provenance)
    where = f"at {place}" if place else "of a model"
    tokens_seen = number(min(record.tokens for record in report.records), 0)
    if count == 1:
        what = f"A sparse dictionary ({kinds}) with {latents} latents"
    else:
        what = f"{count} sparse dictionaries ({kinds}), each with {latents} latents,"
    return f"{what} for the activations {where}, measured on {tokens_seen} held-out tokens."


def _dials(groups: Sequence[Family]) -> dict[str, str]:
    """The families that each setting is the dial of."""
    owners: dict[str, list[str]] = {}
    for group in groups:
        owners.setdefault(dial(group), []).append(group.label)
    return {
        key: " and ".join([", ".join(labels[:-1]), labels[-1]] if labels[:-1] else labels)
        for key, labels in owners.items()
    }


CAPTIONS = {
    LOSS_ZERO: "Up and to the left is better: the same predictions from fewer active latents.",
    LOSS_MEAN: "The stricter denominator: what the activation adds to its own mean.",
    EXPLAINED: "The share of the activations’ variance about their mean that the reconstruction accounts for.",
    GAMMA: "1 is unbiased; below 1 reconstructions are too small, which is shrinkage.",
}
"""What each frontier shows."""


def _frontiers(report: Report, groups: Sequence[Family]) -> list[dict[str, Any]]:
    figures = []
    for quantity in (LOSS_ZERO, GAMMA, EXPLAINED, LOSS_MEAN):
        svg = plot.frontier(groups, quantity, reference=(1.0, "unbiased") if quantity is GAMMA else None)
        if svg:
            formula = report.metrics[quantity.key].formula if quantity.key in report.metrics else ""
            figures.append({"label": quantity.label, "svg": svg, "caption": CAPTIONS[quantity], "formula": formula})
    return figures


def _curves(report: Report, groups: Sequence[Family]) -> list[Markup]:
    arms = [(group, arm) for group in groups for arm in group.arms if arm in report.curves]

    def series(name: str) -> list[plot.Series]:
        return [
            plot.Series(group, arm, report.curves[arm].tokens, getattr(report.curves[arm], name)) for group, arm in arms
        ]

    drawn = [
        plot.curves(series("l0"), "L0 (log scale)", log=True),
        plot.curves(series("explained_variance"), "Explained variance", cut=0.2),
        plot.curves(series("dead_fraction"), "Dead latents, %", percent=True),
    ]
    return [svg for svg in drawn if svg]


def _densities(report: Report, groups: Sequence[Family]) -> list[tuple[Family, Markup]]:
    known = [histogram for histogram in report.densities.values() if sum(histogram.counts)]
    if not known:
        return []
    edges = min(h.edges[0] for h in known), max(h.edges[-1] for h in known)
    tallest = max(max(h.counts) for h in known)
    drawn = []
    for group in groups:
        bars = [
            plot.Bars(arm, report.densities[arm].edges, report.densities[arm].counts, report.densities[arm].dead)
            for arm in group.arms
            if arm in report.densities and report.densities[arm].counts
        ]
        if bars:
            drawn.append((group, plot.densities(group, bars, edges, tallest)))
    return drawn


def _tables(report: Report) -> dict[str, Any]:
    every = table.columns(report.records)
    main = [column for column in every if column in MAIN]
    others = [column for column in every if column not in MAIN]
    return {
        "columns": [column for column in main if not column.key.startswith(table.CROSS_ENTROPIES)],
        "entropies": [column for column in main if column.key.startswith(table.CROSS_ENTROPIES)],
        "rows": table.rows(report.records, main) + table.baseline_rows(report.baselines, main),
        "others": others,
        "other_rows": table.rows(report.records, others) + table.baseline_rows(report.baselines, others),
    }


def _about_latents(report: Report) -> list[str]:
    count = len(report.latents)
    shown = f"Only {count} latents are shown" if count > 1 else "Only one latent is shown"
    return [f"{shown}. Reading contexts suggests what a latent tracks; it does not test it."] if count else []


def _card(latent: LatentPage, groups: Sequence[Family]) -> dict[str, Any]:
    """What the card of a latent shows."""
    return {
        "page": latent,
        "family": next((group for group in groups if latent.arm in group.arms), None),
        "density": f"{significant(100 * latent.density, 2)} %",
        "every": number(1 / latent.density, 0) if latent.density > 0 else "",
        "maximum": significant(latent.maximum),
        "top": [_context(example, latent.maximum) for example in latent.examples if example.kind == "top"],
        "across": [_context(example, latent.maximum) for example in latent.examples if example.kind == "quantile"],
    }


def _context(example: Example, maximum: float) -> dict[str, Any]:
    """What one row of a card shows."""
    return {
        "quantile": f"{100 * example.low:.0f}–{100 * example.high:.0f} %",
        "document": example.document,
        "position": example.position,
        "value": significant(example.values[example.peak]),
        "html": tokens.context(example.tokens, example.values, maximum, example.peak),
        "direction": tokens.direction(example.tokens),
        "begins": example.position <= example.peak,
    }


def _swatch(family: Family) -> Markup:
    """The family's marker, for legends and tables."""
    return tag(
        "svg",
        marker(family.colour, 6, 6, 4.2, class_="mark"),
        viewBox="0 0 12 12",
        class_=f"swatch v{family.colour}",
        aria_hidden="true",
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{significant(seconds, 2)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _plain(value: str | int | float) -> str:
    """A value of the provenance: whole numbers with thousands set apart."""
    return number(value, 0) if isinstance(value, int) and not isinstance(value, bool) else tokens.visible(str(value))
