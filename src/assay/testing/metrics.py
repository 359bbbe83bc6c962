"""The conformance suite of metrics: what every number must do, for those in this package and for yours.

    from assay.testing import check_metric
    check_metric(MyMetric, oracle=1.0, zero=0.0, random=(0.0, 0.5))

Each rule is a function `check_...(metric)` and can be run by itself. Known scores are given by the name of a hand-made dictionary (see
`known`): a number, a range (low, high), or None where the metric is not defined. A broken rule raises AssertionError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from assay.codes import SparseCodes
from assay.dictionary import Dictionary
from assay.metric import Metric, Predictions, Rows, Summed
from assay.testing.known import known_dictionaries, known_planted
from assay.testing.rules import equal, expect, same_bits

Known = float | tuple[float, float] | None
ROWS, DOCUMENTS = 1024, 24
CLOSE = 1e-6
LONGEST = 100
"""Letters of a formula: reports print it in one line."""


def check_metric(metric: type[Metric], **known: Known) -> None:
    """Run every check on a metric, and hold its scores on hand-made dictionaries against those given. Raises AssertionError."""
    for check in METRIC_CHECKS:
        try:
            check(metric)
        except AssertionError as error:
            raise AssertionError(f"{metric.name}, {check.__name__}: {error}") from error
        except Exception as error:
            raise AssertionError(f"{metric.name}, {check.__name__} stopped with {error!r}") from error
    scores = known_scores(metric)
    for name, expected in known.items():
        expect(_is(scores[name], expected), f"{metric.name} of the {name} dictionary is {expected}", scores[name])


def known_scores(metric: type[Metric]) -> dict[str, float]:
    """The metric's value for each hand-made dictionary that it can be computed of."""
    return {name: _after(metric, [batch]) for name, batch in _known_batches(metric).items()}


def check_description(metric: type[Metric]) -> None:
    """Its name leads to it; it has a unit, a direction, and a formula of one line with an operation in it."""
    expect(metric.registry.named(metric.name) is metric, "its name leads to it", metric.name)
    expect(bool(metric.unit), "it has a unit", repr(metric.unit))
    expect(metric.better in ("lower", "higher", "target"), "it says which way is better", metric.better)
    expect(metric.reads in ("rows", "predictions", "weights"), "it says what it reads", metric.reads)
    formula = metric.formula()
    expect(0 < len(formula) <= LONGEST, f"its docstring begins with a formula of up to {LONGEST} letters", formula)
    expect(any(mark in formula for mark in "E/|Σ") and not formula.endswith("."), "that line is a formula", formula)


def check_streams(metric: type[Metric]) -> None:
    """Many small batches, and an empty one between them, give what one batch gives, to 1e-6."""
    for batch in _batches(metric):
        whole = _after(metric, [batch])
        for size in (1, 100):
            parts = [*_split(batch, size)]
            streamed = _after(metric, [parts[0], _taken(batch, torch.arange(0)), *parts[1:]])
            expect(_is(streamed, whole), f"batches of {size} give what one batch gives: {whole}", streamed)


def check_order(metric: type[Metric]) -> None:
    """Rows in another order have the same value, to 1e-6."""
    for batch in _batches(metric):
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(3))
        whole, shuffled = _after(metric, [batch]), _after(metric, [_taken(batch, order)])
        expect(_is(shuffled, whole), f"rows in another order have the same value: {whole}", shuffled)


def check_layouts(metric: type[Metric]) -> None:
    """Dense and CSR codes have the same value, to 1e-6."""
    for batch in _batches(metric):
        if isinstance(batch, Rows):
            values = [
                _after(metric, [replace(batch, codes=codes)])
                for codes in (batch.codes.to_csr(), SparseCodes.dense(batch.codes.to_dense()))
            ]
            expect(_is(values[0], values[1]), f"CSR codes have the value of dense ones: {values[1]}", values[0])


def check_nothing_seen(metric: type[Metric]) -> None:
    """Before anything was seen, and after no rows, the value is NaN."""
    expect(math.isnan(metric().value()), "nothing seen is NaN", metric().value())
    for batch in _batches(metric):
        value = _after(metric, [_taken(batch, torch.arange(0))])
        expect(math.isnan(value), "no rows are NaN", value)


def check_changes_nothing(metric: type[Metric]) -> None:
    """It leaves what it is shown and the global generator as they were, and gives the same value when asked twice."""
    for batch in _known_batches(metric).values():
        before, ambient = {name: t.clone() for name, t in _tensors(batch).items()}, torch.random.get_rng_state()
        made = metric()
        made.update(batch)
        first = made.value()
        expect(_is(made.value(), first), "asked twice, the value is the same", first)
        same_bits(_tensors(batch), before, "what it is shown stays as it was")
        expect(torch.equal(ambient, torch.random.get_rng_state()), "it uses no global randomness", "it was used")


def check_documents(metric: type[Metric]) -> None:
    """The sums of all documents make the value, and a document counted twice is one whose rows came twice."""
    if not issubclass(metric, Summed):
        return
    for batch in _batches(metric):
        made = metric()
        made.update(batch)
        sums = made.by_document()
        equal(len(sums), DOCUMENTS, "there are sums for each document")
        whole = float(metric.of(sums.sum(0)))
        expect(_is(whole, made.value()), f"the sums of all documents make the value {made.value()}", whole)
        every = metric.of(torch.full((2, DOCUMENTS), 2.0, dtype=torch.float64) @ sums)
        expect(_is(float(every[1]), whole), f"all documents twice make the same value {whole}", float(every[1]))


METRIC_CHECKS: tuple[Callable[[type[Metric]], None], ...] = (
    check_description,
    check_streams,
    check_order,
    check_layouts,
    check_nothing_seen,
    check_changes_nothing,
    check_documents,
)
"""All checks, in the order in which they run."""


def _known_batches(metric: type[Metric]) -> dict[str, Any]:
    """What the metric is shown of each hand-made dictionary."""
    if metric.reads == "predictions":
        made = _predictions()
        none = torch.zeros(ROWS)
        return {
            "identity": replace(made, spliced=made.clean, kl=none),
            "zero": replace(made, spliced=made.zero, kl=made.kl_zero),
            "mean": replace(made, spliced=made.mean, kl=made.kl_mean),
        }
    planted = known_planted()
    x = planted.sample(2 * ROWS, key=0)
    x = x[x.norm(dim=1) > 0][:ROWS]  # a row of zeros has no direction
    dictionaries = known_dictionaries(planted, mean=x.mean(0))
    if metric.reads == "weights":
        return dict(dictionaries)
    return {name: _rows(dictionary, x) for name, dictionary in dictionaries.items()}


def _batches(metric: type[Metric]) -> list[Any]:
    """Batches without anything special about them, documents mixed; nothing for what reads weights alone."""
    if metric.reads == "predictions":
        return [_predictions()]
    batches = _known_batches(metric)
    return [batches[name] for name in ("random", "absorbing")] if metric.reads == "rows" else []


@torch.no_grad()
def _rows(dictionary: Dictionary, x: Tensor) -> Rows:
    codes = dictionary.encode(x)
    documents = torch.randint(DOCUMENTS, (len(x),), generator=torch.Generator().manual_seed(1))
    return Rows(x, codes, dictionary.decode(codes, x), documents, x.mean(0))


def _predictions() -> Predictions:
    """Numbers as a model might give: splicing costs something, zeros and the mean cost more."""
    generator = torch.Generator().manual_seed(0)
    clean, spliced, mean, zero = torch.rand(4, ROWS, generator=generator).cumsum(0).mul(2)
    kl, kl_mean, kl_zero = torch.rand(3, ROWS, generator=generator).cumsum(0)
    documents = torch.randint(DOCUMENTS, (ROWS,), generator=generator)
    return Predictions(clean, spliced, zero, mean, kl, kl_zero, kl_mean, documents)


def _after(metric: type[Metric], batches: list[Any]) -> float:
    made = metric()
    for batch in batches:
        made.update(batch)
    return made.value()


def _split(batch: Any, size: int) -> list[Any]:
    return [_taken(batch, some) for some in torch.arange(ROWS).split(size)]


def _taken(batch: Any, rows: Tensor) -> Any:
    """Some rows of a batch."""
    parts = {field.name: getattr(batch, field.name) for field in fields(batch)}
    chosen: dict[str, Any] = {
        name: part[rows] for name, part in parts.items() if isinstance(part, Tensor) and name != "typical"
    }
    if isinstance(batch, Rows):
        chosen["codes"] = SparseCodes.dense(batch.codes.to_dense()[rows])
    return replace(batch, **chosen)


def _tensors(batch: Any) -> Mapping[str, Tensor]:
    if isinstance(batch, Dictionary):
        return batch.state_dict()
    return {name: part for name, part in vars(batch).items() if isinstance(part, Tensor)}


def _is(got: float, expected: Known) -> bool:
    """Equal to 1e-6, within a range, or both not defined."""
    if expected is None or (isinstance(expected, float) and math.isnan(expected)):
        return math.isnan(got)
    if isinstance(expected, tuple):
        return expected[0] <= got <= expected[1]
    return abs(got - expected) <= CLOSE * max(1.0, abs(expected))
