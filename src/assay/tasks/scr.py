"""Spurious correlation removal: can a probe that learnt a bias be freed of it by silencing a few latents?"""

from __future__ import annotations

import torch
from pydantic import Field

from assay.analysis.perturbation import HEADLINE, SIZES, Confounded, Curve
from assay.analysis.pooling import PooledCodes, Read, TextRows, key_of, pool, raw_atoms, read_labelled
from assay.dictionary import Dictionary
from assay.materials.job_templates import JOBS
from assay.task import Cost, NotApplicable, ScoreKind, Scores, Task

PAIRS = tuple(zip(JOBS[::2], JOBS[1::2], strict=True))
TYPICAL = 26
"""Tokens of a text."""
ROOM = 0.05
"""Accuracy that the bias must cost a probe, or there is no bias worth removing."""
OTHERS = tuple(n for n in SIZES if n != HEADLINE)
FORMULA = "(acc silenced - acc biased) / (acc clean - acc biased), {n} latents of the other attribute silenced; mean over pairs of jobs"


class SCR(Task, name="scr", suite="probing", paper="arXiv:2503.09532"):
    """A probe sees only men in one job and women in another; it is asked for jobs (or pronouns) once the others' latents are silenced.

    1 is a probe that is as good as one that saw all combinations, 0 one that is as biased as before, below 0 it was harmed
    (`analysis.perturbation`). The sentences are templates that stand in for biographies, in which job and pronoun are words, so the score
    is kinder than on the field's sets. An audit (arXiv:2605.18229) found it to run against the truth at large N; N is 20
    beforehand, and each N is listed.
    """

    scores = {
        "scr": ScoreKind(FORMULA.format(n=HEADLINE), "higher"),
        "channels": ScoreKind("the same of raw channels about the mean of what dictionaries were trained on", "target"),
        "best": ScoreKind(FORMULA.format(n="N") + "; N is best where probes were fitted", "higher"),
        **{f"scr_{n}": ScoreKind(FORMULA.format(n=n), "higher") for n in OTHERS},
    }

    class Config(Task.Config):
        train: int = Field(default=1200, ge=100)
        """Sentences that probes are fitted to, of all jobs and both pronouns."""
        test: int = Field(default=400, ge=50)
        """Sentences that they are tried on."""
        tokens: int = Field(default=48, ge=4)
        """Most tokens of a sentence; what comes after them is left out."""

    settings: Config

    def prepare(self) -> None:
        """Read the sentences, and fit the biased and the clean probes of each pair of jobs."""
        bench = self.bench
        mean, eye = bench.sample.double().mean(0), torch.eye(bench.sample.shape[1], dtype=torch.float64)
        read = read_labelled("jobs", *self._sizes, bench.language_model, bench.site, bench.kept)
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
        """Silence latents for each pair of jobs. Raises NotApplicable for a dictionary that reconstructs another site."""
        if dictionary.config.maps_to:
            raise NotApplicable(
                "the dictionary reconstructs another site than it reads; needed is one whose atoms lie where probes read"
            )
        atoms = raw_atoms(dictionary)
        curves = {name: ground.scr(pool(dictionary, rows), atoms) for name, (rows, ground) in self.ground.items()}
        whole = Curve.mean(list(curves.values()))
        values = {
            "scr": whole.test[HEADLINE],
            "channels": self.beside.test[HEADLINE],
            "best": whole.score,
            **{f"scr_{n}": whole.test[n] for n in OTHERS},
        }
        details = {
            "best N": whole.best,
            "accuracy that the bias costs": self.room,
            "channels by N": {str(n): value for n, value in self.beside.test.items()},
            "by pair": {name: {str(n): value for n, value in curve.test.items()} for name, curve in curves.items()},
        }
        return Scores(values, details)

    def cost(self) -> tuple[Cost, Cost]:
        """Sentences that are kept already cost nothing; the rest was measured with SmolLM2 and a dictionary of 2,304 latents."""
        texts = self.settings.train + self.settings.test
        there = key_of("jobs", *self._sizes, self.bench.language_model, self.bench.site) in self.bench.kept
        tokens = 0 if there else texts * min(TYPICAL, self.settings.tokens)
        return Cost(to_site=tokens, seconds=10 * texts / 1600), Cost(seconds=6 * texts / 1600)

    @property
    def _sizes(self) -> tuple[int, int, int]:
        return self.settings.train, self.settings.test, self.settings.tokens


def _of_pair(read: Read, pair: tuple[str, str]) -> tuple[TextRows, Confounded]:
    """The sentences about two jobs; the first attribute is the job, the second the pronoun."""
    job, pronoun = (read.labelled.classes[name] for name in ("job", "pronoun"))
    here = torch.tensor([name in pair for name in job])
    y = torch.tensor([[name == pair[0], word == "he"] for name, word in zip(job, pronoun, strict=True)])
    lengths = read.rows.lengths
    rows = read.rows.rows[torch.repeat_interleave(here, lengths)]
    return TextRows(rows, lengths[here]), Confounded.of(read.pooled[here], y[here], read.test[here])
