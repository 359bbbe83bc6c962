"""Automated interpretability: can what a latent fires on be said in words, and do the words tell where it fires in text not seen before?

Explanations are rules (`interp.rules`), sought on windows of some documents and judged on windows of others; the judge runs the rule, so
that what is measured is the latent and not the judge's English. The paper's judge is a language model of 70B parameters; one of your
own may judge beside the rules, at hand (`language`) or behind an address (`endpoint`).

Windows are drawn evenly from all quantiles of a latent's peaks, as delphi does. SAEBench (arXiv:2503.09532) asks about the strongest and
about ones drawn by their value; `detection_strong` and `fuzzing_strong` are nearer to that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from assay.analysis.bootstrap import Drawing
from assay.dictionary import Dictionary
from assay.interp.agreement import mean_over_latents
from assay.interp.answers import Answers
from assay.interp.corpus import Corpus, read_corpus
from assay.interp.endpoint_judge import Endpoint, EndpointJudge
from assay.interp.judge import EmbeddingJudge
from assay.interp.judging import Explained, breakdowns, explain, run_rules, swapped
from assay.interp.language_judge import LanguageJudge
from assay.interp.scorers import detection, fuzzing, similarity, surprisal
from assay.interp.windows import WindowSettings, find_windows
from assay.materials.encoder import Encoder, load_encoder
from assay.task import Bench, Cost, NotApplicable, ScoreKind, Scores, Task

PROMPTS = 122
"""Tokens that SmolLM2's tokenizer makes of four prompts with an explanation of twelve: 44 and 44 to detect, 30 and 4 for surprisal."""
SECONDS_A_REQUEST = 2.0
"""A guess; endpoints differ."""


class AutoInterp(Task, name="autointerp", suite="interp", paper="arXiv:2410.13928"):
    """Explains a sample of latents by rules and judges the rules on held-out windows.

    Score a random dictionary beside a trained one: what its latents fire on can be said in words only by accident. `shuffled` is
    the other control, each latent judged by another one's explanation; it is 0.5 whatever the dictionary.
    """

    scores: ClassVar = {
        "detection": ScoreKind("mean over latents of (TPR + TNR) / 2: does it fire in this window?", "higher"),
        "detection_strong": ScoreKind("the same in its `strong` strongest quantiles, and where it is silent", "higher"),
        "fuzzing": ScoreKind(
            "the same over all: are the highlighted tokens those it fires on? (wrong ones: silent windows)", "higher"
        ),
        "fuzzing_strong": ScoreKind("fuzzing in its `strong` strongest quantiles, and where it is silent", "higher"),
        "fuzzing_active": ScoreKind(
            "fuzzing with wrong highlights in windows where it fires: position alone", "higher"
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
        "language_auc_shuffled": ScoreKind(
            "the same with the explanation of another latent: how much of it is the windows alone", "target"
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
        strong: int = Field(default=2, ge=1)
        """Quantiles, the strongest, that `*_strong` look at."""
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
        if asked := settings.endpoint:
            self.endpoint = EndpointJudge(asked, Answers.of(asked.url, asked.model))
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
        explained = [explain(each, settings.least_f1) for each in found.latents]
        judged = run_rules(explained, strong=settings.strong, seed=seed)
        values = {name: [one.balanced_accuracy for one in each] for name, each in judged.items()}
        values |= self._read(explained)
        values["explained"] = [float(bool(each.text)) for each in explained]
        means = {name: mean_over_latents(values.get(name, []), Drawing(seed=seed)) for name in self.scores}
        details = {
            "latents": [
                {
                    "latent": each.windows.latent,
                    "density": each.windows.density,
                    "explanation": each.text,
                    "f1_where_sought": each.f1,
                    **{name: values[name][place] for name in judged if values[name]},
                }
                for place, each in enumerate(explained)
            ],
            "skipped": dict(found.skipped),
            "intervals": {name: mean.resolved() for name, mean in means.items()},
            **breakdowns(judged["detection"], [each.windows.density for each in explained]),
        }
        own = {name: [value for value in each if value is not None] for name, each in values.items()}
        return Scores({name: _number(means[name].estimate) for name in self.scores}, details, own=own)

    def _read(self, explained: Sequence[Explained]) -> dict[str, list[float | None]]:
        """What judges say that read the explanations instead of running them; nothing of those that are not asked for."""
        pairs, seed = [(each.text, each.windows.test) for each in explained], self.bench.seed
        values: dict[str, list[float | None]] = {}
        if self.encoder:
            embedding = EmbeddingJudge(self.encoder)
            values["embedding_auc"] = [similarity(embedding, *pair) for pair in pairs]
        if self.settings.language:
            language = LanguageJudge(self.bench.language_model.model, self.bench.language_model.tokenizer)
            others = [(text, windows.test) for text, windows in swapped(explained, seed)]
            values["language_auc"] = [similarity(language, *pair) for pair in pairs]
            values["language_auc_shuffled"] = [similarity(language, *pair) for pair in others]
            values["surprisal_auc"] = [surprisal(language, *pair) for pair in pairs]
        if judge := self.endpoint:
            values["endpoint_detection"] = [detection(judge, *pair).balanced_accuracy for pair in pairs]
            values["endpoint_fuzzing"] = [fuzzing(judge, *pair, seed=seed).balanced_accuracy for pair in pairs]
        return values

    def cost(self) -> tuple[Cost, Cost]:
        settings = self.settings
        windows = 2 * settings.windows.quantiles * settings.windows.judging * settings.latents
        read = windows * (4 * settings.windows.length + PROMPTS) * settings.language
        asked = 2 * windows / settings.endpoint.windows * SECONDS_A_REQUEST if settings.endpoint else 0.0
        each = (0.4 + 0.9 * bool(settings.encoder)) * settings.latents  # as measured on one thread
        return Cost(to_site=settings.tokens), Cost(to_end=read, seconds=5.0 + each + asked)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
