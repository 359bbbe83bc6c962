"""Targeted probe perturbation: do a class's latents carry that class and no other?"""

from __future__ import annotations

import torch
from pydantic import Field

from assay.analysis.perturbation import HEADLINE, SIZES, Classes, Curve
from assay.analysis.pooling import PooledCodes, key_of, pool, raw_atoms, read_labelled
from assay.dictionary import Dictionary
from assay.task import Cost, NotApplicable, ScoreKind, Scores, Task

SETS = {"newsgroups": "group", "jobs": "job"}
TYPICAL = {"newsgroups": 48, "jobs": 26}
"""Tokens of a text, of at most 48."""
LEAST = 0.7
"""Balanced accuracy that probes must have on average, or there is nothing to take from them."""
OTHERS = tuple(n for n in SIZES if n != HEADLINE)
FORMULA = "mean over classes i of (acc_i lost) - mean over j != i of (acc_j lost), the {n} latents with the largest effect on i silenced"


class TPP(Task, name="tpp", suite="probing", paper="arXiv:2503.09532"):
    """How much accuracy the probe of a class loses when that class's latents are silenced, less what the other probes lose.

    Linear probes on pooled activations tell each class from the rest; N latents are silenced on every token, the error is kept, and the
    same probes are asked again (`analysis.perturbation`). At most about 1/2. An audit (arXiv:2605.18229) found the score to fall as
    training goes on, and with large N raw channels score high as well, because together they hold all that a probe reads: compare at one
    N, and beside `channels`.
    """

    scores = {
        "tpp": ScoreKind(FORMULA.format(n=HEADLINE), "higher"),
        "channels": ScoreKind("the same of raw channels about the mean of what dictionaries were trained on", "target"),
        "best": ScoreKind(FORMULA.format(n="N") + "; N is best where probes were fitted", "higher"),
        **{f"tpp_{n}": ScoreKind(FORMULA.format(n=n), "higher") for n in OTHERS},
    }

    class Config(Task.Config):
        train: int = Field(default=1200, ge=100)
        """Texts of each set that probes are fitted to."""
        test: int = Field(default=400, ge=50)
        """Texts of each set that they are tried on."""
        tokens: int = Field(default=48, ge=4)
        """Most tokens of a text; what comes after them is left out."""

    settings: Config

    def prepare(self) -> None:
        """Read the texts and fit the probes."""
        bench, sizes = self.bench, self._sizes
        mean, eye = bench.sample.double().mean(0), torch.eye(bench.sample.shape[1], dtype=torch.float64)
        self.rows, self.classes, self.clean, beside = {}, {}, {}, []
        for name, attribute in SETS.items():
            read = read_labelled(name, *sizes, bench.language_model, bench.site, bench.kept)
            names = read.labelled.names(attribute)
            y = torch.tensor(read.labelled.numbers(attribute))[:, None] == torch.arange(len(names))
            classes = Classes.of(read.pooled, y, read.test)
            found = classes.accuracy(classes.probes.logits(read.pooled), read.test)
            self.clean[name] = dict(zip(names, found.tolist(), strict=True))
            if float(found.mean()) >= LEAST:
                self.rows[name], self.classes[name] = read.rows, classes
                beside.append(classes.tpp(PooledCodes.of(read.pooled - mean), eye))
        if not self.classes:
            raise NotApplicable(
                f"probes at {bench.site} have accuracies of {self.clean}; needed is a mean of {LEAST} in one set"
            )
        self.beside = Curve.mean(beside)

    def score(self, dictionary: Dictionary) -> Scores:
        """Silence the latents of each class in turn. Raises NotApplicable for a dictionary that reconstructs another site."""
        if dictionary.config.maps_to:
            raise NotApplicable(
                "the dictionary reconstructs another site than it reads; needed is one whose atoms lie where probes read"
            )
        atoms = raw_atoms(dictionary)
        curves = {name: classes.tpp(pool(dictionary, self.rows[name]), atoms) for name, classes in self.classes.items()}
        whole = Curve.mean(list(curves.values()))
        values = {
            "tpp": whole.test[HEADLINE],
            "channels": self.beside.test[HEADLINE],
            "best": whole.score,
            **{f"tpp_{n}": whole.test[n] for n in OTHERS},
        }
        details = {
            "best N": whole.best,
            "clean accuracy": self.clean,
            "channels by N": {str(n): value for n, value in self.beside.test.items()},
            "by set": {name: {str(n): value for n, value in curve.test.items()} for name, curve in curves.items()},
        }
        return Scores(values, details)

    def cost(self) -> tuple[Cost, Cost]:
        """Texts that are kept already cost nothing; the rest was measured with SmolLM2 and a dictionary of 2,304 latents."""
        texts = self.settings.train + self.settings.test
        tokens = sum(
            texts * min(typical, self.settings.tokens)
            for name, typical in TYPICAL.items()
            if key_of(name, *self._sizes, self.bench.language_model, self.bench.site) not in self.bench.kept
        )
        return Cost(to_site=tokens, seconds=10 * texts / 1600), Cost(seconds=12 * texts / 1600)

    @property
    def _sizes(self) -> tuple[int, int, int]:
        return self.settings.train, self.settings.test, self.settings.tokens
