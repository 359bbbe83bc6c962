"""Unlearning: how much worse a model gets on one kind of text when latents are clamped, for hardly any loss on another kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from assay.activations.order import permutation
from assay.activations.produce import evaluating, rows_kept
from assay.activations.source import Inputs, TextSource, is_held_out
from assay.analysis.unlearning import Change, unlearn
from assay.analysis.variants import logits_of, shareable
from assay.dictionary import Dictionary
from assay.errors import StoreError
from assay.materials.texts import load_by_label
from assay.sites import capture
from assay.task import Cost, NotApplicable, ScoreKind, Scores, Task

TEXTS, LABEL, FORGET = "reviews", "category", "plot"
"""Packaged texts, the column that says what each is, and what is to be forgotten: plots of films; reviews are to be retained."""
AT_ONCE = 8
"""Changes that share a forward at most."""


class Unlearning(Task, name="unlearning", suite="probing", paper="arXiv:2410.19278"):
    """Rise of the loss on plots of films, with latents clamped, where that on reviews of films rises by at most 1 %.

    This is a toy: a model gets worse at one kind of text and not at another. What the literature measures, accuracy on the questions
    of WMDP-bio while that on MMLU stays, needs an instruction-tuned model of 2B parameters or more; the packaged one answers neither.

    Latents that fire on fewer than tau of the retain rows, the n most frequent on forget rows of them, are held at -c times their mean
    value on forget rows wherever they fire; c counts in that mean because values of different dictionaries have no unit in common
    (SAEBench takes 25 to 200 for all). The error term is kept. Latents are chosen on one half of the documents, losses are of the other
    half, and that is halved again: each half is scored under the setting that is best by the other one, so the rise on retain text may
    leave the bound, and the score may be below that of leaving the model alone, 0. A dictionary of which no latent qualifies is refused.
    """

    at_site = True
    scores: ClassVar[Mapping[str, ScoreKind]] = {
        "rise": ScoreKind("loss on forget text - clean loss, where rise_retain was ≤ bound on other text", "higher", "nats"),
        "rise_retain": ScoreKind("(loss on retain text - clean loss) / clean loss, at that setting", "lower"),
        "qualify": ScoreKind("latents with density on retain text below the largest τ that fire on forget text", "target", "latents"),
    }  # fmt: skip

    class Config(Task.Config):
        """Settings of the search."""

        thresholds: tuple[float, ...] = (0.001, 0.01)
        """tau: largest densities on retain rows."""
        counts: tuple[int, ...] = (10, 20)
        """n: latents that are clamped."""
        strengths: tuple[float, ...] = (1.0, 2.0, 4.0)
        """c: how far below zero, in mean values."""
        bound: float = Field(default=0.01, ge=0)
        """Largest rise of the loss on retain text, as a share of it."""
        rows: int = Field(default=4096, ge=1)
        """Tokens of each text from which latents are chosen."""
        tokens: int = Field(default=1024, ge=1)
        """Tokens of each text whose losses are measured."""

    settings: Config

    def prepare(self) -> None:
        """Activations that latents are chosen by, and contexts for the losses. Raises NotApplicable."""
        forget, retain = self.texts()
        chosen_by, measured = zip(*(self.halves(documents) for documents in (forget, retain)), strict=True)
        self.forget, self.retain = (self.rows(inputs) for inputs in chosen_by)
        if (contexts := min(len(inputs.keep) for inputs in measured)) < 2:
            raise NotApplicable(
                f"{contexts} context of a text to measure on; needed are two, to choose by and to score"
            )
        self.contexts = [inputs.only(slice(contexts)) for inputs in measured]
        fewest = 1 / min(self.settings.thresholds)
        if len(self.retain) < fewest:
            raise NotApplicable(f"{len(self.retain)} retain rows; a density of 1 in {fewest:g} needs {fewest:g}")
        model, first = self.bench.language_model.model, self.contexts[0].only(slice(1))
        with evaluating(model):
            self.together = min(shareable(model, self.bench.site, first.arguments, first.keep), AT_ONCE)

    def score(self, dictionary: Dictionary) -> Scores:
        grid = {name: getattr(self.settings, name) for name in ("thresholds", "counts", "strengths")}
        with evaluating(self.bench.language_model.model):
            found = unlearn(dictionary, self.forget, self.retain, self.losses, **grid)
        details = {"forget_loss": found.forget_loss, "retain_loss": found.retain_loss}
        if not found.tried:
            raise NotApplicable(
                f"no latent fires on forget rows and on fewer than {max(self.settings.thresholds):g} of the retain rows; needed is one"
            )
        forgotten, retained = found.rises(self.settings.bound)
        items = {"rise": forgotten, "rise_retain": retained}
        values = {score: fmean(rises) for score, rises in items.items()} | {"qualify": float(found.qualify)}
        return Scores(values, {"tried": [asdict(each) for each in found.tried], **details}, items)

    def cost(self) -> tuple[Cost, Cost]:
        settings, own = 1, self.settings
        settings += len(own.thresholds) * len(own.counts) * len(own.strengths)
        return Cost(to_site=2 * own.rows), Cost(to_end=2 * own.tokens * settings, seconds=2.0)

    def texts(self) -> tuple[list[str], list[str]]:
        """Documents to forget and documents to retain, of which training saw none. Raises NotApplicable."""
        source = self.bench.held_out
        seen = {
            document
            for number, document in enumerate(source.documents)
            if source.part != "all" and not is_held_out(number, source.held_out, source.seed)
        }
        by_label = load_by_label(TEXTS, LABEL)
        forget = [text for text in by_label.pop(FORGET, []) if text not in seen]
        return forget, [text for texts in by_label.values() for text in texts if text not in seen]

    def halves(self, documents: Sequence[str]) -> tuple[Inputs, Inputs]:
        """Contexts from one half of some documents, to choose by, and from the other half, to measure. Raises NotApplicable."""
        order: list[int] = permutation(len(documents), "unlearning", self.bench.seed).tolist()
        wanted, found = (self.settings.rows, self.settings.tokens), []
        for half, tokens in zip((order[::2], order[1::2]), wanted, strict=True):
            context, tokenizer = self.bench.held_out.context, self.bench.language_model.tokenizer
            try:
                texts = [documents[number] for number in half]
                source = TextSource(texts, tokenizer, context=context, seed=self.bench.seed)
                count = min(-(-tokens // context), len(source))
            except StoreError as error:
                raise NotApplicable(f"a half of {len(documents)} documents is too little text: {error}") from None
            found.append(source.inputs(0, count))
        return found[0], found[1]

    def rows(self, inputs: Inputs) -> Float[Tensor, "N D"]:
        """Activations at the site, a context at a time."""
        model, site = self.bench.language_model.model, self.bench.site
        with evaluating(model):
            parts = (inputs.only(slice(start, start + 1)) for start in range(len(inputs.keep)))
            return torch.cat([rows_kept(site, capture(model, [site], **each.arguments)[site], each) for each in parts])

    def losses(self, changes: Sequence[Change]) -> Float[Tensor, "C 2 K"]:
        """Mean cross-entropy of the next token in each context of both texts, for each change of the kept activations."""
        means = torch.empty(len(changes), 2, len(self.contexts[0].keep), dtype=torch.float64)
        for text, inputs in enumerate(self.contexts):
            for context in range(len(inputs.keep)):
                each = inputs.only(slice(context, context + 1))
                ids, scored = each.arguments["input_ids"], each.keep[:, :-1]
                given = self.bench.language_model.model, self.bench.site, each.arguments, each.keep
                for number, logits in enumerate(logits_of(*given, changes, self.together)):
                    predicted, target = logits[:, :-1][scored].double(), ids[:, 1:][scored]
                    means[number, text, context] = F.cross_entropy(predicted, target)
        return means
