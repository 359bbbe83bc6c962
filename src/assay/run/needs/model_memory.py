"""What a language model takes here: found by loading it, and by counting over a context or two of the passes that a run makes.

Both passes grow in proportion: a harvest's with the contexts in it, an evaluation's with the dictionaries that share a forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from assay.activations import ActivationStore
from assay.activations.manifest import DTYPES
from assay.activations.plan import plan
from assay.activations.produce import Producer
from assay.activations.source import Inputs, Source
from assay.analysis.evaluate import CONTEXTS, evaluate_model
from assay.analysis.variants import BUDGET
from assay.dictionary import Dictionary
from assay.run.needs.available import give_back, resident
from assay.run.needs.tally import Tally
from assay.run.stages import Workspace

REFERENCES = 3
"""Forwards that every evaluation makes: clean, zero and mean."""
STAND_IN = 64
"""Latents of the dictionaries that stand in for real ones while an evaluation is counted."""


@dataclass(frozen=True)
class Growing:
    """Bytes that grow with a count: `one` for the first, `more` for each further one."""

    one: int
    more: int

    def at(self, count: int) -> int:
        """Bytes for so many."""
        return self.one + max(count - 1, 0) * self.more


@dataclass(frozen=True)
class ModelMemory:
    """Bytes that a language model and its texts take in this process."""

    parts: tuple[int, ...]
    """Widths of the activations, a site each."""
    vocabulary: int
    context: int
    """Tokens of a context, as counted."""
    loaded: int
    """Resident once it is loaded and its embedding was read: tokenizer, libraries."""
    to_site: int
    """Resident after a pass up to the site: weights read so far, tokenizer, libraries."""
    to_end: int
    """The same after a whole pass."""
    loading: int
    """Resident at most while it was loaded."""
    texts: int
    """Documents and their tokens."""
    forward: Growing
    """A pass up to the site, by contexts, beside the shard that it fills."""
    scoring: Growing
    """A pass of the evaluation, by dictionaries."""
    predicting: int = 0
    """A pass, and back, of one context whose predictions a loss asks for; 0 where none does."""

    def read(self, contexts: int, tokens: int) -> int:
        """Bytes of a pass up to the site, over contexts of so many tokens."""
        return self.forward.at(contexts) * tokens // self.context

    def scored(self, dictionaries: int, tokens: int, at_once: int) -> int:
        """Bytes of a pass of the evaluation over a context of so many tokens, where `at_once` of the variants may share a forward."""
        together = min(BUDGET // (tokens * self.vocabulary), at_once) - REFERENCES
        return self.scoring.at(max(min(dictionaries, together), 1)) * tokens // self.context


def measure_model(workspace: Workspace) -> ModelMemory:
    """Load the model of a run and count. Raises what loading it, and a wrong site, raise."""
    give_back()
    before, most = resident(), resident(most=True)
    model = workspace.language_model.model
    loading = max(resident(most=True) if resident(most=True) > most else 0, resident()) - before
    _read_embedding(model)
    without_texts = resident()
    source = workspace.source("train")
    context = source.inputs(0, 1).keep.shape[1]
    texts = resident() - without_texts
    few = min(len(source), 2)
    parts, one = _forward(workspace, _First(source, 1))
    _, two = _forward(workspace, _First(source, few))
    give_back()
    to_site = resident() - before - texts
    scoring, vocabulary = _scoring(workspace, parts)
    give_back()
    return ModelMemory(
        parts=parts,
        vocabulary=vocabulary,
        context=context,
        loaded=without_texts - before,
        to_site=to_site,
        to_end=resident() - before - texts,
        loading=loading,
        texts=texts,
        forward=Growing(one, two - one if few > 1 else one),
        scoring=scoring,
        predicting=_predicting(workspace, _First(source, 1)) if workspace.run.batches.contexts else 0,
    )


def _read_embedding(model: nn.Module) -> None:
    """Read what a few contexts leave unread of an embedding that is mapped from its file; a harvest needs most of it."""
    for embedding in model.modules():
        if isinstance(embedding, nn.Embedding):
            embedding.weight.detach().sum()


@dataclass(frozen=True)
class _First:
    """The first contexts of a source."""

    source: Source
    contexts: int

    @property
    def identity(self) -> dict[str, Any]:
        return self.source.identity

    def __len__(self) -> int:
        return self.contexts

    def inputs(self, start: int, stop: int) -> Inputs:
        return self.source.inputs(start, min(stop, self.contexts))


def _forward(workspace: Workspace, source: _First) -> tuple[tuple[int, ...], int]:
    """Widths of the activations, and bytes of the pass that reads them from all contexts of a source, without the rows of the shard."""
    model = workspace.language_model.model
    sites, dtype = workspace.sites, workspace.run.harvest.dtype
    tokens = int(source.inputs(0, len(source)).keep.sum())
    planned = plan(source, tokens=tokens, rows_per_shard=tokens)
    producer = Producer(model, source, planned, dtype, len(source), {})
    with Tally() as tally:
        made = producer.shards(0, sites)
        parts = tuple(made.pop(site).activations.shape[1] for site in sites)
    return parts, max(tally.peak() - shard_bytes(tokens, sum(parts), DTYPES[dtype].itemsize), 0)


def shard_bytes(rows: int, width: int, itemsize: int) -> int:
    """A shard while it is filled: activations, the document and position of each row, and where each row goes."""
    return rows * (width * itemsize + 8 + 8)


def _scoring(workspace: Workspace, parts: tuple[int, ...]) -> tuple[Growing, int]:
    """Bytes of an evaluation pass by dictionaries, and the size of the vocabulary."""
    model = workspace.language_model.model
    source = workspace.source("held_out")
    first = source.inputs(0, 1)
    with torch.no_grad():
        vocabulary = model(**first.arguments).logits.shape[-1]

    def score(count: int) -> tuple[int, bool]:
        arms = {str(number): _stand_in(workspace, parts) for number in range(count)}
        with Tally() as tally:
            evaluations = evaluate_model(
                arms, model, workspace.sites, source, mean=torch.zeros(sum(parts)), tokens=int(first.keep.sum())
            )
        return tally.peak(), bool(next(iter(evaluations.values())).shared_prefix)

    (one, shared), (three, _) = score(1), score(3)
    contexts = 1 if shared else CONTEXTS
    return Growing(one * contexts, (three - one) // 2 * contexts), vocabulary


def _predicting(workspace: Workspace, source: _First) -> int:
    """Bytes of a batch of one context in a training that asks what the model predicts from reconstructions."""
    with Tally() as tally:
        store = ActivationStore.contexts(workspace.language_model.model, source, workspace.sites[0], contexts=1)
        rows = next(store.batches()).requires_grad_(True)
        ask = store.downstream(0)
        assert ask is not None
        ask(rows).backward()
    return tally.peak()


def _stand_in(workspace: Workspace, parts: tuple[int, ...]) -> Dictionary:
    """A dictionary of the run's first kind, with few latents."""
    settings = next(iter(workspace.run.arms(*parts, sweep=False).values()))
    return settings.resized(d_in=settings.d_in, width=STAND_IN).build()
