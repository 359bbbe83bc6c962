"""Targeted probe perturbation: do a class's latents carry that class and no other?"""

from __future__ import annotations

import torch

from assay.analysis.perturbation import Classes, Curve, by_number, formulas, items, scores
from assay.analysis.pooling import PooledCodes, TextSettings, pool, raw_atoms, read_labelled
from assay.dictionary import Dictionary
from assay.task import Cost, NotApplicable, ScoreKind, Scores, Task

SETS = {"newsgroups": "group", "jobs": "job"}
LEAST = 0.7
"""Balanced accuracy that probes must have on average, or there is nothing to take from them."""
FORMULA = "mean over classes i of (acc_i lost) - mean over j != i of (acc_j lost), the {n} latents with the largest effect on i silenced"


class TPP(Task, name="tpp", suite="probing", paper="arXiv:2503.09532"):
    """How much accuracy the probe of a class loses when that class's latents are silenced, less what the other probes lose.

    Linear probes on pooled activations tell each class from the rest; N latents are silenced on every token, the error is kept, and the
    same probes are asked again (`analysis.perturbation`). At most about 1/2. An audit (arXiv:2605.18229) found the score to fall as
    training goes on, and with large N raw channels score high as well, because together they hold all that a probe reads: compare at one
    N, and beside `channels`.
    """

    at_site = True
    scores = {
        score: ScoreKind(formula, "target" if score == "channels" else "higher")
        for score, formula in formulas("tpp", FORMULA).items()
    }

    class Config(Task.Config, TextSettings):
        """How much is read."""

    settings: Config

    def prepare(self) -> None:
        """Read the texts and fit the probes."""
        bench, sizes = self.bench, self.settings.sizes
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
        """Silence the latents of each class in turn."""
        atoms = raw_atoms(dictionary)
        curves = {name: classes.tpp(pool(dictionary, self.rows[name]), atoms) for name, classes in self.classes.items()}
        whole = Curve.mean(list(curves.values()))
        details = {
            "best N": whole.best,
            "clean accuracy": self.clean,
            **by_number({"channels": self.beside}),
            "by set": by_number(curves),
        }
        return Scores(scores("tpp", whole, self.beside), details, items("tpp", whole))

    def cost(self) -> tuple[Cost, Cost]:
        """What was read already costs nothing; seconds are those of one thread with SmolLM2 and a dictionary of 2,304 latents."""
        own, bench = self.settings, self.bench
        share = (own.train + own.test) / 1600
        reads = own.to_read(SETS, bench.language_model, bench.site, bench.kept)
        return Cost(shared=reads, seconds=3.0 * share), Cost(seconds=5.0 * share)
