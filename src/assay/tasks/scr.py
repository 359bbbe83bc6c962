"""Spurious correlation removal: can a probe that learnt a bias be freed of it by silencing a few latents?"""

from __future__ import annotations

import torch

from assay.analysis.perturbation import Confounded, Curve, by_number, formulas, items, scores
from assay.analysis.pooling import PooledCodes, Read, TextRows, TextSettings, pool, raw_atoms, read_labelled
from assay.dictionary import Dictionary
from assay.materials.job_templates import JOBS
from assay.task import Cost, NotApplicable, ScoreKind, Scores, Task

PAIRS = tuple(zip(JOBS[::2], JOBS[1::2], strict=True))
ROOM = 0.05
"""Accuracy that the bias must cost a probe, or there is no bias worth removing."""
FORMULA = "(acc silenced - acc biased) / (acc clean - acc biased), {n} latents of the other attribute silenced; mean over pairs of jobs"


class SCR(Task, name="scr", suite="probing", paper="arXiv:2503.09532"):
    """A probe sees only men in one job and women in another; it is asked for jobs (or pronouns) once the others' latents are silenced.

    1 is a probe that is as good as one that saw all combinations, 0 one that is as biased as before, below 0 it was harmed
    (`analysis.perturbation`). The sentences are templates that stand in for biographies, in which job and pronoun are words, so the score
    is kinder than on the field's sets. An audit (arXiv:2605.18229) found it to run against the truth at large N; N is 20
    beforehand, and each N is listed.
    """

    at_site = True
    scores = {
        score: ScoreKind(formula, "target" if score == "channels" else "higher")
        for score, formula in formulas("scr", FORMULA).items()
    }

    class Config(Task.Config, TextSettings):
        """How much is read."""

    settings: Config

    def prepare(self) -> None:
        """Read the sentences, and fit the biased and the clean probes of each pair of jobs."""
        bench = self.bench
        mean, eye = bench.sample.double().mean(0), torch.eye(bench.sample.shape[1], dtype=torch.float64)
        read = read_labelled("jobs", *self.settings.sizes, bench.language_model, bench.site, bench.kept)
        self.ground: dict[str, tuple[TextRows, Confounded]] = {}
        self.room: dict[str, float] = {}
        beside = []
        for pair in PAIRS:
            name = "/".join(pair)
            rows, ground = _of_pair(read, pair)
            self.room[name] = ground.room()
            if self.room[name] >= ROOM:
                self.ground[name] = rows, ground
                beside.append(ground.scr(PooledCodes.of(ground.x - mean), eye))
        if not self.ground:
            raise NotApplicable(
                f"a biased probe at {bench.site} loses accuracies of {self.room}; needed is a loss of {ROOM} for one pair of jobs"
            )
        self.beside = Curve.mean(beside)

    def score(self, dictionary: Dictionary) -> Scores:
        """Silence latents for each pair of jobs."""
        atoms = raw_atoms(dictionary)
        curves = {name: ground.scr(pool(dictionary, rows), atoms) for name, (rows, ground) in self.ground.items()}
        whole = Curve.mean(list(curves.values()))
        details = {
            "best N": whole.best,
            "accuracy that the bias costs": self.room,
            **by_number({"channels": self.beside}),
            "by pair": by_number(curves),
        }
        return Scores(scores("scr", whole, self.beside), details, items("scr", whole))

    def cost(self) -> tuple[Cost, Cost]:
        """What was read already costs nothing; seconds are those of one thread with SmolLM2 and a dictionary of 2,304 latents."""
        own, bench = self.settings, self.bench
        share = (own.train + own.test) / 1600
        reads = own.to_read(["jobs"], bench.language_model, bench.site, bench.kept)
        return Cost(shared=reads, seconds=1.5 * share), Cost(seconds=1.5 * share)


def _of_pair(read: Read, pair: tuple[str, str]) -> tuple[TextRows, Confounded]:
    """The sentences about two jobs; the first attribute is the job, the second the pronoun."""
    job, pronoun = (read.labelled.classes[name] for name in ("job", "pronoun"))
    here = torch.tensor([name in pair for name in job])
    y = torch.tensor([[name == pair[0], word == "he"] for name, word in zip(job, pronoun, strict=True)])
    lengths = read.rows.lengths
    rows = read.rows.rows[torch.repeat_interleave(here, lengths)]
    return TextRows(rows, lengths[here]), Confounded.of(read.pooled[here], y[here], read.test[here])
