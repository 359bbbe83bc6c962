"""How good dictionaries are: on activations alone, or inside the model they are of. One pass serves all of them.

Numbers that are functions of sums are kept by document as well, so that documents can be drawn anew (`bootstrap`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from assay.activations.produce import evaluating
from assay.activations.source import Inputs, Source
from assay.analysis.by_document import Documents
from assay.analysis.several import logits_of_several
from assay.analysis.variants import logits_of, shareable
from assay.dictionary import Dictionary
from assay.errors import ConfigError
from assay.metric import Metric, Predictions, Reads, Rows, Summed
from assay.metrics.density import Density, Histogram
from assay.record import Record, machine
from assay.sites import Site

CONTEXTS = 8
"""Contexts that run at once where dictionaries can't share a forward."""
POSITIONS = 32
"""Positions whose distributions over the vocabulary are compared at once."""


@dataclass(frozen=True)
class Evaluation:
    """The numbers of one dictionary."""

    values: dict[str, float | None]
    """Each metric by name; None where it is not defined."""
    tokens: int
    """Activations that were encoded."""
    predictions: int
    """Positions whose next token was predicted; 0 without a model."""
    density: Histogram | None
    """How often latents fire; None when the metric `density` was not asked for."""
    by_document: Mapping[str, Float[Tensor, "G Q"]]
    """Sums of each document by metric, for those that are functions of sums: `Summed.of` makes numbers of them."""
    shared_prefix: bool | None
    """Whether all dictionaries shared one run of the layers before the site; None without a model."""


@torch.no_grad()
def evaluate(
    dictionaries: Mapping[str, Dictionary],
    batches: Iterable[Tensor],
    metrics: Sequence[str] | None = None,
) -> dict[str, Evaluation]:
    """Measure dictionaries on batches of raw rows, as they learn from them; by default with every metric that needs no model.

    Raises UnknownName, ConfigError for a metric that needs a model, ShapeMismatch.
    """
    chosen = _chosen(metrics, ("rows", "weights"))
    arms = {name: _Arm(dictionary, chosen) for name, dictionary in dictionaries.items()}
    for x in batches:
        for arm in arms.values():
            arm.splice(x)
    return {name: arm.evaluation(shared_prefix=None) for name, arm in arms.items()}


@torch.no_grad()
def evaluate_model(
    dictionaries: Mapping[str, Dictionary],
    model: nn.Module,
    sites: Site | Sequence[Site],
    source: Source,
    *,
    mean: Float[Tensor, " D"],
    tokens: int,
    batch_contexts: int = CONTEXTS,
    at_once: int = 32,
    metrics: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Evaluation]:
    """Measure dictionaries on the first `tokens` kept positions of a source (all, if it has fewer), in a causal language model.

    At kept positions the activation is replaced by the reconstruction, by zero and by `mean`; other positions pass through. Of several
    sites a dictionary that maps one to another replaces what it writes, any other all of them; what is made is made from the clean
    forward, and `mean` is that of the rows side by side.
    Cross-entropies are of the next token, at the kept positions that have one in their context. The clean, the zero and the mean
    forward serve all dictionaries. Where the model allows it, up to `at_once` variants share the layers before the site, one context
    at a time; otherwise `batch_contexts` contexts run at once, a forward a variant. `progress` is told (tokens done, tokens).
    Raises UnknownName, ShapeMismatch, SiteNotFound, ConfigError when the source has no token ids or the model no logits.
    """
    sites = [sites] if isinstance(sites, Site) else list(sites)
    chosen = _chosen(metrics, get_args(Reads))
    arms = {name: _Arm(dictionary, chosen, mean) for name, dictionary in dictionaries.items()}
    documents = Documents()
    device = next(chain(model.parameters(), model.buffers()), mean).device
    together, done = 1, 0
    with evaluating(model):
        if len(source) and len(sites) == 1:
            first = _on(device, source.inputs(0, 1))
            together = min(shareable(model, sites[0], first.arguments, first.keep), at_once)
        for inputs in _first(tokens, source, batch_contexts if together == 1 else 1):
            inputs = _on(device, inputs)
            scored, targets = _next_tokens(inputs)
            read, predicted = (documents.numbers(inputs.origin[rows][:, 0]) for rows in (inputs.keep, scored))
            for written, group in _by_target(arms.values(), sites):
                for arm in group:
                    arm.documents = read
                changes = [
                    lambda x: x,
                    torch.zeros_like,
                    lambda x: mean.to(x).expand_as(x),
                    *(arm.splice for arm in group),
                ]
                given = inputs.arguments, inputs.keep, changes
                if len(sites) == 1:
                    logits = logits_of(model, sites[0], *given, together)
                else:
                    logits = logits_of_several(model, sites, *given, written)
                _predict(group, logits, scored, targets, predicted)
            done += int(inputs.keep.sum())
            if progress is not None:
                progress(done, tokens)
    return {name: arm.evaluation(shared_prefix=together > 1) for name, arm in arms.items()}


def to_record(arm: str, dictionary: Dictionary, evaluation: Evaluation) -> Record:
    """The record of a dictionary's evaluation, measured on this machine."""
    return Record(
        arm=arm,
        variant=dictionary.name,
        dial=dictionary.config.dial_value(),
        seed=dictionary.config.seed,
        width=dictionary.config.width,
        tokens=evaluation.tokens,
        config_digest=dictionary.config.digest(),
        values=evaluation.values,
        machine=machine(),
    )


class _Arm:
    """A dictionary, its metrics so far, and what they were shown."""

    def __init__(
        self, dictionary: Dictionary, metrics: Sequence[type[Metric]], mean: Float[Tensor, " D"] | None = None
    ) -> None:
        self.dictionary, self.metrics = dictionary, [metric() for metric in metrics]
        fitted = dictionary.target_mean if dictionary.config.maps_to else dictionary.mean
        self.typical = fitted if mean is None else mean[len(mean) - dictionary.config.d_out :]
        self.documents: Int[Tensor, " N"] | None = None
        self.tokens = self.predictions = 0
        self._update("weights", dictionary)

    def splice(self, rows: Float[Tensor, "N C"]) -> Float[Tensor, "N E"]:
        """Count the rows, and reconstruct them, or what stands beside the input where that is another tensor."""
        x, target = self.dictionary.pair(rows)
        codes = self.dictionary.encode(x)
        reconstruction = self.dictionary.decode(codes, x)
        self.tokens += len(rows)
        self._update("rows", Rows(target, codes, reconstruction, self.documents, self.typical.to(target)))
        return reconstruction

    def predict(self, predictions: Predictions) -> None:
        """Count predictions."""
        self.predictions += len(predictions.clean)
        self._update("predictions", predictions)

    def evaluation(self, shared_prefix: bool | None) -> Evaluation:
        values = {metric.name: metric.value() for metric in self.metrics}
        density = next((metric.histogram() for metric in self.metrics if isinstance(metric, Density)), None)
        defined = {name: value if math.isfinite(value) else None for name, value in values.items()}
        sums = {metric.name: metric.by_document() for metric in self.metrics if isinstance(metric, Summed)}
        return Evaluation(defined, self.tokens, self.predictions, density, sums, shared_prefix)

    def _update(self, reads: Reads, batch: Rows | Predictions | Dictionary) -> None:
        for metric in self.metrics:
            if metric.reads == reads:
                metric.update(batch)


def _by_target(arms: Iterable[_Arm], sites: Sequence[Site]) -> Iterator[tuple[Sequence[Site], list[_Arm]]]:
    """The arms that write all of the sites, and those that read the first and write the others."""
    for maps, written in ((False, sites), (True, sites[1:])):
        if group := [arm for arm in arms if bool(arm.dictionary.config.maps_to) == maps]:
            yield written, group


def _chosen(names: Sequence[str] | None, reads: Sequence[Reads]) -> list[type[Metric]]:
    metrics = [Metric.registry.named(name) for name in (Metric.registry.names() if names is None else names)]
    unfit = [metric.name for metric in metrics if metric.reads not in reads]
    if names is not None and unfit:
        raise ConfigError(
            f"the metric {unfit[0]!r} reads a model's predictions",
            expected="metrics of activations alone",
            do="Leave it out, or measure with `evaluate_model`.",
        )
    return [metric for metric in metrics if metric.reads in reads]


def _on(device: torch.device, inputs: Inputs) -> Inputs:
    arguments = {name: value.to(device) for name, value in inputs.arguments.items()}
    return Inputs(arguments, inputs.keep.to(device), inputs.origin)


def _first(tokens: int, source: Source, contexts: int) -> Iterator[Inputs]:
    """The contexts of a source, some at a time, in which the first `tokens` kept positions lie; no other position is kept."""
    left = tokens
    for start in range(0, len(source), contexts):
        inputs = source.inputs(start, min(start + contexts, len(source)))
        keep = inputs.keep & (inputs.keep.flatten().cumsum(0) <= left).view_as(inputs.keep)
        some = keep.any(dim=1)
        if some.any():
            yield Inputs(inputs.arguments, keep, inputs.origin).only(some)
        left -= int(keep.sum())
        if left <= 0:
            return


def _next_tokens(inputs: Inputs) -> tuple[Bool[Tensor, "B S"], Int[Tensor, " P"]]:
    """Kept positions that have a next token in their context, and those tokens."""
    ids = inputs.arguments.get("input_ids")
    if ids is None or ids.shape != inputs.keep.shape:
        raise ConfigError(
            f"the source gives {', '.join(inputs.arguments)} for {list(inputs.keep.shape)} positions",
            expected="input_ids, a token a position",
            do="Measure the activations alone with `evaluate`.",
        )
    scored = inputs.keep.clone()
    scored[:, -1] = False
    if (real := inputs.arguments.get("attention_mask")) is not None:
        scored[:, :-1] &= real[:, 1:].bool()
    return scored, ids.roll(-1, dims=1)[scored]


def _predict(
    arms: Sequence[_Arm],
    logits: Iterator[Float[Tensor, "B S V"]],
    scored: Bool[Tensor, "B S"],
    targets: Int[Tensor, " P"],
    documents: Int[Tensor, " P"],
) -> None:
    """Compare the predictions of the clean, the zero, the mean and each arm's forward, which arrive in this order."""
    expected = next(logits)[scored].float().log_softmax(-1)
    clean = F.nll_loss(expected, targets, reduction="none")
    zero, kl_zero = _scores(expected, next(logits)[scored], targets)
    mean, kl_mean = _scores(expected, next(logits)[scored], targets)
    for arm in arms:  # no name for the logits: it would keep those of one forward alive through the next
        spliced, kl = _scores(expected, next(logits)[scored], targets)
        arm.predict(Predictions(clean, spliced, zero, mean, kl, kl_zero, kl_mean, documents))


def _scores(
    expected: Float[Tensor, "P V"], logits: Float[Tensor, "P V"], targets: Int[Tensor, " P"]
) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Cross-entropy with the targets, and KL of what was expected (log-probabilities) from what is predicted."""
    losses, divergences = [], []
    parts = zip(expected.split(POSITIONS), logits.split(POSITIONS), targets.split(POSITIONS), strict=True)
    for known, predicted, target in parts:
        predicted = predicted.float().log_softmax(-1)
        losses.append(F.nll_loss(predicted, target, reduction="none"))
        probability = known.exp()
        divergences.append((probability * (known - predicted)).where(probability > 0, 0.0).sum(-1))
    return torch.cat(losses), torch.cat(divergences)
