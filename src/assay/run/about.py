"""What a report says of its run: where the numbers come from, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay import __version__
from assay.activations import ActivationStore
from assay.errors import CorruptData
from assay.metric import Metric
from assay.record import Outcome, machine
from assay.reports import Explanation
from assay.run.settings import Run
from assay.task import Task


def explain_tasks(outcomes: Sequence[Outcome]) -> dict[str, Explanation]:
    """Unit, direction and formula of every score that tasks gave; of tasks that are not installed here, nothing."""
    names = [name for name in dict.fromkeys(outcome.task for outcome in outcomes) if name in Task.registry.names()]
    return {
        f"{name} {score}": Explanation(unit=kind.unit, better=kind.better, formula=kind.formula)
        for name in names
        for score, kind in Task.registry.named(name).scores.items()
    }


def explain_metrics() -> dict[str, Explanation]:
    """Unit, direction and formula of every metric."""
    metrics = {name: Metric.registry.named(name) for name in Metric.registry.names()}
    return {
        name: Explanation(unit=metric.unit, better=metric.better, formula=metric.formula())
        for name, metric in metrics.items()
    }


def describe_run(run: Run, store: ActivationStore, folder: Path) -> dict[str, Any]:
    """Model, site, text, harvest and training, in words; `folder` is named where the store doesn't say. Raises CorruptData."""
    held, (text, vocabulary) = store.identity, text_of(store.identity, folder)
    return {
        "model": str(held["model"].get("identity", run.model.name)),
        "site": f"{run.harvest.site} ({held['site']})",
        "text": f"{run.source.texts}: {text}",
        "vocabulary": f"xxh3-128 {vocabulary}",
        "context": f"{run.source.context} tokens",
        "held out": f"{run.source.held_out:.0%} of the documents, seed {run.source.seed}",
        "harvest": f"{store.rows:,} rows, {held['dtype']}, seed {held['seed']}",
        "training": f"{run.train.steps:,} steps of {_batch(run, store.rows)}, order of seed {run.batches.seed}",
        "learning rate": run.train.learning_rate,
        "settings digest": run.digest(),
        "assay": __version__,
        "machine": machine(),
    }


def text_of(identity: Mapping[str, Any], folder: Path) -> tuple[str, str]:
    """What text a store was harvested from, and the hash of its vocabulary. Raises CorruptData."""
    try:
        documents, tokenizer = identity["source"]["documents"], identity["source"]["tokenizer"]
        text = f"{documents['count']:,} documents, xxh3-128 {documents['xxh3_128']}"
        return text, str(tokenizer["vocabulary"]["xxh3_128"])
    except (KeyError, TypeError, ValueError):
        raise CorruptData(
            f"{folder} does not say which text it was harvested from",
            expected="a store that `assay harvest` wrote",
            do="Harvest it again.",
        ) from None


def _batch(run: Run, rows: int) -> str:
    if run.batches.contexts:
        return f"{run.batches.contexts} contexts, run live"
    return f"{run.batches.size:,} rows, {run.train.steps * run.batches.size / rows:.1f} epochs"
