"""docs/model_diff.md: how two models are compared, and what crosscoders of the packaged one and its tuning say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.results import ROOT
from benchmarks.tables import number, table

PAGE = ROOT / "docs" / "model_diff.md"
MEASURED = ("l0", "explained_variance", "loss_recovered_zero")
HEAD = """# Two models: what is in one and not in the other

```toml
model.name = "smollm2 + path/to/tuned"               # models of one tokenizer, called 0 and 1
harvest.site = "0/resid_post.9 + 1/resid_post.9"     # a site of each

[dictionaries.both]
variant = "batch_topk_crosscoder"
width = 2304
k = 32
```

`assay harvest`, `train` or `sweep`, and `evaluate` work as for one model. A harvest runs each no further than its last site, and rows stand
side by side; an evaluation runs every model whole, though it reads the predictions of the first alone. A crosscoder has one code for
both and a part of every atom for each ([crosscoder](dictionaries/crosscoder.md)).
Losses are those of the model that is named first; name the other one first to see its own. `assay diff runs/my` then says

- which latents *look* exclusive: at least 90 % of the norm of their atom lies in one model (`--least`);
- which of them are in the other model too, by latent scaling (arXiv:2504.02922, `analysis.model_diff`): an L1 penalty drives small parts of
  an atom to zero though the other model has the concept, which then sits in its error or in other latents.

Both need parts that share a basis, as a model and its fine-tuning do at one layer. From Python, stores of several models that were
shown one `TextSource` join (`ActivationStore.join`), and `analysis.model_diff.latent_scaling` gives every figure by latent.
"""


def write(result: Path) -> None:
    """Write the page."""
    found = json.loads(result.read_text(encoding="utf-8")) if result.exists() else None
    PAGE.write_text(page(found), encoding="utf-8")


def page(found: Mapping[str, Any] | None) -> str:
    """How, and what was measured if it was."""
    return HEAD if found is None else f"{HEAD}\n## Measured\n\n{measured(found)}"


def measured(found: Mapping[str, Any]) -> str:
    """A row a setting, its seeds in the mean with the smallest and the largest."""
    meta, tuning = found["meta"], found["tuning"]
    sides: dict[str, list[Mapping[str, Any]]] = {}
    for row in found["rows"]:
        sides.setdefault(row["side"], []).append(row)
    exclusive = ("largest share", "look exclusive: first", "second", "still do: first", "second")
    head = ("crosscoder", "L0", "explained variance", "loss recovered (zero)", "living", *exclusive)
    body = [
        (
            f"`{side}`",
            _spread([row["l0"] for row in some], 1),
            *(_spread([row[key] for row in some], 3) for key in MEASURED[1:]),
            _spread([row["living"] for row in some], 0),
            _spread([row["largest"] for row in some], 2),
            *(_spread([row[which][part] for row in some], 0) for which in ("looks", "own") for part in (0, 1)),
        )
        for side, some in sides.items()
    ]
    seeds = len(next(iter(sides.values())))
    return f"""SmolLM2-135M and a copy of it, all of whose parameters were tuned on plots of films: {tuning["steps"]:.0f} steps of
{tuning["tokens"] / tuning["steps"]:,.0f} tokens at {tuning["rate"]:g}, cross-entropy there from {tuning["first"]:.2f} to
{tuning["last"]:.2f} (means of the first and of the last tenth). At the residual stream after block 9 the change is
{found["apart"]:.1%} of the first model's variance. 2,304 latents, 400 steps on 160,000 tokens of reviews and plots; mean of {seeds}
seeds (smallest to largest). A share is that of an atom's norm in the model that has more of it.

{table(head, body)}

*{meta["date"]}, commit `{meta["commit"]}`, {meta["machine"]}.* `{meta["command"]}`.
{_verdict(found["rows"])} One model, one tuning, one layer: an example, not a finding about fine-tuning. That an L1 penalty makes latents
look exclusive which are not, and that a count makes fewer, was seen where the truth is planted ([claims.md](claims.md)).
"""


def _verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the rows say of exclusive latents."""
    looks, own = (sum(sum(row[which]) for row in rows) for which in ("looks", "own"))
    if not looks:
        return (
            "No latent looks exclusive. Whether that is because the models are so near, or because the training was short, was not\n"
            "told apart."
        )
    return f"Of {looks:,} latents that look exclusive {own:,} still do after latent scaling. What they are was not looked at."


def _spread(values: Sequence[float], digits: int) -> str:
    mean, low, high = (number(each, digits) for each in (fmean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"
