"""docs/gated_pareto.md, its plot and a table of the README from docs/results/gated_pareto.json: nothing in them is written by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import gated_ablations_page
from benchmarks.frontiers import plot
from benchmarks.page import README, fill
from benchmarks.results import ROOT, Row
from benchmarks.tables import number, table

RESULT, PAGE, PLOT = (
    ROOT / "docs" / name for name in ("results/gated_pareto.json", "gated_pareto.md", "gated_pareto.svg")
)
NAMES = {"resid_post": "residual stream", "mlp_out": "MLP output", "attn_out": "attention output"}
BESIDE_THE_PAPER = """**Beside the paper.** The paper finds about one half, with larger models and dictionaries that
see billions of tokens. These see a million, which are four epochs; what longer training does to the ratio was not
measured, so it belongs to that budget, and a ratio below one half does not say that Gated is better than the paper
found. Gamma is about the mean of the rows, where the paper's is raw: a large mean hides
shrinkage. Sites in the block have one seed, so their intervals are over documents alone; an interval that holds 1
says that the site's documents don't settle which of both needs fewer."""


def write() -> None:
    """Write the page, the plot, and the table of the README."""
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    README.write_text(
        fill(README.read_text(encoding="utf-8"), "headline", headline(found["summary"])), encoding="utf-8"
    )
    PAGE.write_text(page(found), encoding="utf-8")
    PLOT.write_text(drawn(found["records"]), encoding="utf-8")
    gated_ablations_page.write_plot()


def page(found: Mapping[str, Any]) -> str:
    """The page."""
    meta, summary = found["meta"], found["summary"]
    hours = sum(sum(seconds.values()) for seconds in meta["seconds"].values()) / 3600
    return f"""# Gated against ReLU, on a language model

The claim of the paper ([arXiv:2404.16014](https://arxiv.org/abs/2404.16014)): at equal training compute Gated is a Pareto improvement over
ReLU, needs about half the active latents for the same loss recovered, and does not shrink. Tried on SmolLM2-135M, which is 576 wide, at
three sites of block 9. {meta["setting"]}

`make pareto` measured this in {hours:.1f} hours after the harvest ({meta["date"]}, {meta["machine"]}) and wrote this page from
[results/gated_pareto.json](results/gated_pareto.json).

{headline(summary)}

L0 ratio: active latents of Gated over those of ReLU, at equal loss recovered (zero ablation), with the 95 % interval of drawing documents
and seeds anew. Gamma: mean over all dictionaries of a kind, the smallest and the largest; 1 is unbiased. At least as good: share of the
common L0, on a log scale.

{BESIDE_THE_PAPER}

![Loss recovered and gamma against L0 at three sites](gated_pareto.svg)

{gated_ablations_page.section()}

## Every dictionary

{details(found["records"])}
"""


def headline(summary: Mapping[str, Any]) -> str:
    """A row a site."""
    head = ("site", "L0 of Gated over ReLU's", "gamma, Gated", "gamma, ReLU", "Gated at least as good", "seeds")
    body = []
    for site, said in summary.items():
        ratio = said["l0_ratio_at_equal_loss_recovered"]
        body.append(
            (
                name_of(site),
                _spread(ratio and ratio["estimate"], ratio and ratio["low"], ratio and ratio["high"], 2),
                *(
                    _spread(*(said[f"gamma_{kind}"][key] for key in ("mean", "low", "high")), 3)
                    for kind in ("gated", "relu")
                ),
                f"{100 * said['dominated']:.0f} %" if said["dominated"] is not None else "–",
                str(len(said["seeds"])),
            )
        )
    return table(head, body)


def details(records: Sequence[Row]) -> str:
    """A row a dictionary."""
    head = ("site", "arm", "width", "L0", "loss recovered", "explained variance", "gamma", "dead")
    keys = ("loss_recovered_zero", "explained_variance", "relative_reconstruction_bias", "dead_fraction")
    body = [
        (
            name_of(row["site"]),
            row["arm"],
            f"{row['width']:,}",
            number(row["l0"], 1),
            *(number(row[key], 3) for key in keys),
        )
        for row in records
    ]
    return table(head, body)


def drawn(records: Sequence[Row]) -> str:
    """Loss recovered above gamma, a column a site."""
    sites = list(dict.fromkeys(row["site"] for row in records))
    columns = {name_of(site): [_without_site(row) for row in records if row["site"] == site] for site in sites}
    return plot(columns, "Loss recovered and gamma of Gated and ReLU dictionaries against L0")


def _without_site(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != "site"}


def name_of(site: str) -> str:
    """What people call a site."""
    return NAMES.get(site.partition(".")[0], site)


def _spread(mean: float | None, low: float | None, high: float | None, digits: int) -> str:
    return "–" if mean is None else f"{mean:.{digits}f} ({number(low, digits)} to {number(high, digits)})"
