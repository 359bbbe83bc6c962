"""Automated interpretability: can what a latent fires on be said in words, and do the words tell where it fires in text not seen before?

Explanations are rules (`interp.rules`), sought on windows of some documents and judged on windows of others; the judge runs the rule, so
that what is measured is the latent and not the judge's English. The paper's judge is a language model of 70B parameters; one of your
own may judge beside the rules, at hand (`language`) or behind an address (`endpoint`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from assay.analysis.bootstrap import Drawing
from assay.dictionary import Dictionary
from assay.interp.agreement import Agreement, mean_over_latents
from assay.interp.corpus import Corpus, read_corpus
from assay.interp.endpoint_judge import Endpoint, EndpointJudge
from assay.interp.judge import EmbeddingJudge, Judge, RuleJudge
from assay.interp.language_judge import LanguageJudge
from assay.interp.scorers import detection, fuzzing, shuffled, similarity, surprisal
from assay.interp.search import find_rule
from assay.interp.windows import LatentWindows, WindowSettings, find_windows
from assay.materials.encoder import Encoder, load_encoder
from assay.task import Bench, Cost, NotApplicable, ScoreKind, Scores, Task

PROMPTS = 70
"""Tokens that the language judge reads of three prompts with a short explanation, beside the window in each."""
SECONDS_A_REQUEST = 2.0
"""A guess; endpoints differ."""


class AutoInterp(Task, name="autointerp", suite="interp", paper="arXiv:2410.13928"):
    """Explains a sample of latents by rules and judges the rules on held-out windows.

    Score a random dictionary beside a trained one: what its latents fire on can be said in words only by accident. `shuffled` is
    the other control, each latent judged by another one's explanation; it is 0.5 whatever the dictionary.
    """

    scores: ClassVar = {
        "detection": ScoreKind("mean over latents of (TPR + TNR) / 2: does it fire in this window?", "higher"),
        "fuzzing": ScoreKind(
            "the same: are the highlighted tokens those it fires on? (wrong ones: silent windows)", "higher"
        ),
        "fuzzing_active": ScoreKind(
            "the same with wrong highlights in windows where it fires: position alone", "higher"
        ),
        "fuzzing_moved": ScoreKind(
            "fuzzing with the right highlights moved by one token: to lie below fuzzing", "lower"
        ),
        "embedding_auc": ScoreKind(
            "mean over latents of P(the sentence of a window where it fires is nearer)", "higher"
        ),
        "language_auc": ScoreKind(
            "mean over latents of P(the bench's model says yes more firmly of a window where it fires)", "higher"
        ),
        "surprisal_auc": ScoreKind(
            "mean over latents of P(the explanation makes a window where it fires likelier by more)", "higher"
        ),
        "endpoint_detection": ScoreKind("detection, judged by `endpoint`", "higher"),
        "endpoint_fuzzing": ScoreKind("fuzzing, judged by `endpoint`", "higher"),
        "shuffled": ScoreKind(
            "detection with the explanation of another latent: 0.5 where scores mean something", "target"
        ),
        "explained": ScoreKind("share of the latents for which a rule reaches `least_f1` where it is sought", "higher"),
    }

    class Config(Task.Config):
        tokens: int = Field(default=50_000, ge=1)
        """Held-out tokens in which firings are looked for; all, if there are fewer."""
        latents: int = Field(default=60, ge=1)
        """Latents that are explained, drawn evenly from those that have enough windows."""
        windows: WindowSettings = WindowSettings()
        """How windows are chosen."""
        least_f1: float = Field(default=0.2, ge=0, le=1)
        """F1 over tokens from which on a rule explains its latent; one without an explanation is judged as one that never fires."""

        encoder: str = "minilm"
        """Sentence encoder of the catalogue that judges beside the rules; "" leaves `embedding_auc` undefined."""
        language: bool = False
        """Whether the model that the dictionary is of judges too; else `language_auc` and `surprisal_auc` are undefined."""
        endpoint: Endpoint | None = None
        """A language model behind an address that judges too, to which windows are sent; else its scores are undefined."""

    def __init__(self, settings: Config, bench: Bench) -> None:
        super().__init__(settings, bench)
        self.settings: AutoInterp.Config = settings
        self.corpus: Corpus
        self.encoder: Encoder | None = None
        self.endpoint: EndpointJudge | None = None

    def prepare(self) -> None:
        bench, settings = self.bench, self.settings
        self.endpoint = EndpointJudge(settings.endpoint) if settings.endpoint else None
        kept = ("corpus", settings.tokens)
        if kept not in bench.kept:
            model = bench.language_model.model
            bench.kept[kept] = read_corpus(model, bench.site, bench.held_out, settings.tokens)
        self.corpus = bench.kept[kept]
        self.encoder = load_encoder(settings.encoder) if settings.encoder else None
        back = self.corpus.held_back(bench.seed)
        halves = [len(set(self.corpus.origin[:, 0].numpy()[half].tolist())) for half in (~back, back)]
        if min(halves) < settings.windows.least:
            raise NotApplicable(
                f"the {len(self.corpus):,} held-out tokens are of {sum(halves)} documents ({min(halves)} on one side); "
                f"needed are {settings.windows.least} to explain latents by and as many others to judge the explanations"
            )

    def score(self, dictionary: Dictionary) -> Scores:
        settings, seed = self.settings, self.bench.seed
        found = find_windows(dictionary, self.corpus, settings.windows, count=settings.latents, seed=seed)
        rules = [find_rule(each.train) for each in found.latents]
        told = [str(rule.rule) if rule and rule.f1 >= settings.least_f1 else "" for rule in rules]
        judged = _judged(RuleJudge(), told, found.latents, seed)
        values = {name: [one.balanced_accuracy for one in each] for name, each in judged.items()}
        values |= self._read(told, found.latents)
        values["explained"] = [float(bool(text)) for text in told]
        means = {name: mean_over_latents(values.get(name, []), Drawing(seed=seed)) for name in self.scores}
        details = {
            "latents": [
                {
                    "latent": each.latent,
                    "density": each.density,
                    "explanation": text,
                    "f1_where_sought": rule.f1 if rule else None,
                    **{name: values[name][place] for name in judged},
                }
                for place, (each, text, rule) in enumerate(zip(found.latents, told, rules, strict=True))
            ],
            "skipped": dict(found.skipped),
            "intervals": {name: mean.resolved() for name, mean in means.items()},
            **_breakdowns(judged["detection"], [each.density for each in found.latents]),
        }
        return Scores({name: _number(means[name].estimate) for name in self.scores}, details)

    def _read(self, told: Sequence[str], latents: Sequence[LatentWindows]) -> dict[str, list[float | None]]:
        """What judges say that read the explanations instead of running them; nothing of those that are not asked for."""
        pairs = [(text, each.test) for text, each in zip(told, latents, strict=True)]
        values: dict[str, list[float | None]] = {}
        if self.encoder:
            embedding = EmbeddingJudge(self.encoder)
            values["embedding_auc"] = [similarity(embedding, *pair) for pair in pairs]
        if self.settings.language:
            language = LanguageJudge(self.bench.language_model.model, self.bench.language_model.tokenizer)
            values["language_auc"] = [similarity(language, *pair) for pair in pairs]
            values["surprisal_auc"] = [surprisal(language, *pair) for pair in pairs]
        if judge := self.endpoint:
            seed = self.bench.seed
            values["endpoint_detection"] = [detection(judge, *pair).balanced_accuracy for pair in pairs]
            values["endpoint_fuzzing"] = [fuzzing(judge, *pair, seed=seed).balanced_accuracy for pair in pairs]
        return values

    def cost(self) -> tuple[Cost, Cost]:
        settings = self.settings
        windows = 2 * settings.windows.quantiles * settings.windows.judging * settings.latents
        read = windows * (3 * settings.windows.length + PROMPTS) * settings.language
        asked = 2 * windows / settings.endpoint.windows * SECONDS_A_REQUEST if settings.endpoint else 0.0
        each = (0.4 + 0.9 * bool(settings.encoder)) * settings.latents  # as measured on one thread
        return Cost(to_site=settings.tokens), Cost(to_end=read, seconds=5.0 + each + asked)


def _judged(
    judge: Judge, told: Sequence[str], latents: Sequence[LatentWindows], seed: int
) -> dict[str, list[Agreement]]:
    """Every scorer's agreement for every latent, and detection by the explanation of another one."""
    pairs = [(text, each.test) for text, each in zip(told, latents, strict=True)]
    judged = {
        "detection": [detection(judge, *pair) for pair in pairs],
        "fuzzing": [fuzzing(judge, *pair, seed=seed) for pair in pairs],
        "fuzzing_active": [fuzzing(judge, *pair, wrong="active", seed=seed) for pair in pairs],
        "fuzzing_moved": [fuzzing(judge, *pair, moved=1, seed=seed) for pair in pairs],
    }
    others = shuffled(len(told), seed) if len(told) > 1 else []
    judged["shuffled"] = [detection(judge, told[other], latents[own].test) for own, other in enumerate(others)]
    return judged


def _breakdowns(detected: Sequence[Agreement], density: Sequence[float]) -> dict[str, Any]:
    """Detection by quantile of the peaks and by kind of silent window, and F1 weighted by how often a latent fires."""
    quantiles = sorted({quantile for one in detected for quantile in one.by_quantile})
    kinds = sorted({kind for one in detected for kind in one.by_kind})
    f1 = np.array([one.f1 or 0.0 for one in detected])
    return {
        "detected_by_quantile": [
            float(np.mean([one.by_quantile[each] for one in detected if each in one.by_quantile])) for each in quantiles
        ],
        "silent_by_kind": {
            each: float(np.mean([one.by_kind[each] for one in detected if each in one.by_kind])) for each in kinds
        },
        "f1_weighted_by_frequency": float(f1 @ density / sum(density)) if len(f1) else None,
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value
