"""Absorption: do a dictionary's latents for first letters fall silent on words that have latents of their own?"""

from __future__ import annotations

import math

import torch
from pydantic import Field

from assay.analysis.absorption import KNOWN, Words
from assay.analysis.pooling import pool, raw_atoms, read_last
from assay.dictionary import Dictionary
from assay.materials.labelled import first_letters
from assay.task import Cost, NotApplicable, ScoreKind, Scores, Task

PROMPT = "The first letter of river is R. The first letter of stone is S. The first letter of"
PROMPT_TOKENS = 21
"""Tokens of the prompt and a word, for SmolLM2."""
LETTERS = 26


class Absorption(Task, name="absorption", suite="probing", paper="arXiv:2503.09532"):
    """What share of a word's first letter is said by latents that are not those for the letter (`analysis.absorption`).

    The activation is that of a word of the vocabulary at the end of a prompt that asks for first letters; a causal model can't know what
    would follow, so nothing does. Probes for the letters must have F1 above 0.6 for `letters` of them, or nothing is said of any.
    A dictionary without latents for letters absorbs nothing: read the scores beside `main_f1`.
    """

    at_site = True
    scores = {
        "absorption": ScoreKind(
            "mean over letters and words of B / (B + M), what at most 3 others, and the letter's own, carry along the letter's probe",
            "lower",
        ),
        "full_absorption": ScoreKind(
            "share of words where the letter's latents are silent and one other carries 0.4 of the projection, mean over letters",
            "lower",
        ),
        "main_f1": ScoreKind("mean over letters of F1 of a probe on the letter's own latents", "higher"),
        "main_latents": ScoreKind(
            "mean number of latents that stand for a letter, each worth 0.03 in F1", "target", "latents"
        ),
    }

    class Config(Task.Config):
        words: int = Field(default=120, ge=20)
        """Most words of each letter, the most frequent ones; a quarter of them are tested on."""
        letters: int = Field(default=20, ge=2, le=LETTERS)
        """Letters that the model must know."""

    settings: Config

    def prepare(self) -> None:
        """Read the words, fit the probes, and see which letters the model knows."""
        bench = self.bench
        labelled = first_letters(bench.language_model.tokenizer, self.settings.words)
        names, test = labelled.names("letter"), torch.tensor(labelled.is_test)
        y = torch.tensor(labelled.numbers("letter"))[:, None] == torch.arange(len(names))
        enough = ((y & test[:, None]).sum(0) > 1) & ((y & ~test[:, None]).sum(0) > 1)
        if int(enough.sum()) < self.settings.letters:
            raise self._refusal(f"words of {int(enough.sum())} letters in the vocabulary")
        self.rows = read_last(bench.language_model, bench.site, [f"{PROMPT} {word}" for word in labelled.texts])
        whole = Words.of(self.rows.pooled(), y[:, enough], test)
        f1 = whole.f1()
        self.f1 = dict(
            zip([name for name, some in zip(names, enough.tolist(), strict=True) if some], f1.tolist(), strict=True)
        )
        known = f1 > KNOWN
        if int(known.sum()) < self.settings.letters:
            found = " ".join(f"{name} {value:.2f}" for name, value in self.f1.items())
            raise self._refusal(f"{int(known.sum())} letters with F1 above {KNOWN} at {bench.site} ({found})")
        self.letters = [name for name, value in self.f1.items() if value > KNOWN]
        self.words = whole.only(known)

    def score(self, dictionary: Dictionary) -> Scores:
        """Find each letter's latents and what others carry."""
        found = self.words.absorption(pool(dictionary, self.rows), raw_atoms(dictionary))
        items = {
            "absorption": [each.share for each in found],
            "full_absorption": [each.full for each in found],
            "main_f1": [each.main_f1 for each in found],
            "main_latents": [float(len(each.main)) for each in found],
        }
        by_letter = {
            letter: {
                "probe_f1": self.f1[letter],
                "main": list(each.main),
                "main_f1": each.main_f1,
                "words": each.words,
                "absorption": each.share if each.main and each.words else None,
                "full": each.full if each.main and each.words else None,
            }
            for letter, each in zip(self.letters, found, strict=True)
        }
        values = {score: _mean(letters) for score, letters in items.items()}
        return Scores(values, {"by_letter": by_letter, "unknown": sorted(set(self.f1) - set(self.letters))}, items)

    def cost(self) -> tuple[Cost, Cost]:
        """As measured with SmolLM2 and a dictionary of 2,304 latents."""
        words, share = LETTERS * self.settings.words, self.settings.words / 120
        return Cost(to_site=words * PROMPT_TOKENS, seconds=15 * share), Cost(seconds=2 * share)

    def _refusal(self, found: str) -> NotApplicable:
        return NotApplicable(f"found {found}; needed are {self.settings.letters} letters that a probe tells apart")


def _mean(values: list[float]) -> float:
    """Of those that are defined; NaN without any."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else float("nan")
