"""RAVEL: can one attribute of an entity be carried over to another through a few latents, while the others stay?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from assay.activations.order import permutation
from assay.activations.produce import evaluating
from assay.analysis.interchange import COUNTS, Disentanglement, Pairs, answered, disentangle
from assay.analysis.questions import Questions
from assay.dictionary import Dictionary
from assay.materials.cities import ATTRIBUTES, City, cities
from assay.task import Cost, NotApplicable, ScoreKind, Scores, Task

ENTITY = "The city of {city}"
QUESTIONS = {
    "country": ENTITY + " is in the country of",
    "continent": ENTITY + " is on the continent of",
    "language": ENTITY + " is a place where people speak",
}
"""They share all up to the entity's last token, so its activation is one and the same for every question."""


@dataclass(frozen=True, eq=False)
class Known:
    """Cities of which the model knows at least two attributes."""

    cities: tuple[City, ...]
    knows: Mapping[str, frozenset[str]]
    """Names of the cities whose value the model gives, by attribute."""
    x: Float[Tensor, "C D"]
    """Activation at each city's last token."""


class Ravel(Task, name="ravel", suite="probing", paper="arXiv:2402.17700"):
    """Cause and isolation of country, continent and language of cities, latents swapped at the city's last token.

    For each attribute a mask over latents is made from pairs of cities that share none with the test's: asked about the attribute, the
    model should give the source's value; asked about another, the base's. An answer is the largest logit among the first tokens of an
    attribute's values. The error term stays, and the mask is found by attribution where RAVEL trains it (`analysis.interchange`). A mask
    that moves nothing has cause 0, isolation 1 and disentanglement 0.5, so these are told apart. `swap` replaces the whole activation:
    it is what the site allows at most by cause; `every` carries all latents over, and what it lacks of `swap` is in the error term.

    Only facts that the model knows are asked. RAVEL has five kinds of entities and prompts by the dozen, for larger models; this is one
    kind and one prompt an attribute.
    """

    at_site = True
    scores: ClassVar[Mapping[str, ScoreKind]] = {
        "disentanglement": ScoreKind("(cause + isolation) / 2, mean over attributes; 0.5 for doing nothing", "higher"),
        "cause": ScoreKind("share of questions about the attribute that get the source's value", "higher"),
        "isolation": ScoreKind("share of questions about other attributes that keep the base's value", "higher"),
        "every": ScoreKind("cause with all latents carried over: what the dictionary allows at most", "higher"),
        "swap": ScoreKind("cause with the source's activation in place of the base's", "target"),
        "latents": ScoreKind("latents that a mask carries over, mean over attributes", "target", "latents"),
    }

    class Config(Task.Config):
        """Settings of the masks."""

        least: int = Field(default=40, ge=4)
        """Cities of which two attributes must be known."""
        pairs: int = Field(default=48, ge=8)
        """Most pairs of each aim that a mask is made from, and as many to test it."""
        batch: int = Field(default=32, ge=1)
        """Pairs whose gradient is taken at once."""

    settings: Config

    def prepare(self) -> None:
        """Ask the model about every city. Raises NotApplicable."""
        self.tokens = {attribute: self._answers(attribute) for attribute in ATTRIBUTES}
        if same := [attribute for attribute, values in self.tokens.items() if len(values) < 2]:
            raise NotApplicable(
                f"the values of {', '.join(same)} begin with one token; needed are two or more of their own"
            )
        with evaluating(self.bench.language_model.model), torch.no_grad():
            self.known = self._ask()
        if len(self.known.cities) < self.settings.least:
            raise NotApplicable(
                f"the model knows two attributes of {len(self.known.cities)} cities; needed are {self.settings.least}"
            )
        order = permutation(len(self.known.cities), "ravel", self.bench.seed).tolist()
        cut = 2 * len(order) // 3
        self.sets = {
            attribute: [self._pairs(attribute, part) for part in (order[:cut], order[cut:])] for attribute in ATTRIBUTES
        }
        if not all(pairs[0].cause.any() and not pairs[0].cause.all() for sets in self.sets.values() for pairs in sets):
            raise NotApplicable(
                "some attribute has no pair of cities that tells cause from isolation among those that are known"
            )
        with evaluating(self.bench.language_model.model), torch.no_grad():
            self.swap = sum(swapped(*sets[1]) for sets in self.sets.values()) / len(self.sets)

    def score(self, dictionary: Dictionary) -> Scores:
        """Make and try a mask for each attribute."""
        found, rights = dict[str, Disentanglement](), dict[str, list[float]](cause=[], isolation=[], every=[])
        every = torch.ones(dictionary.config.width)
        with evaluating(self.bench.language_model.model):
            for attribute, sets in self.sets.items():
                learn, test = ((pairs, asked.logits) for pairs, asked in sets)
                found[attribute] = disentangle(dictionary, learn, test, batch=self.settings.batch)
                which = test[0].cause
                right = torch.tensor(found[attribute].right)
                rights["cause"] += right[which].double().tolist()
                rights["isolation"] += right[~which].double().tolist()
                rights["every"] += answered(dictionary, *test, every)[which].double().tolist()
        values = {key: fmean(each) for key, each in rights.items()}
        values["disentanglement"] = (values["cause"] + values["isolation"]) / 2
        values |= {"swap": self.swap, "latents": fmean(each.latents for each in found.values())}
        details: dict[str, Any] = {
            name: {"cause": each.cause, "isolation": each.isolation, "latents": each.latents, "score": each.score}
            for name, each in found.items()
        }
        details["known"] = {name: len(names) for name, names in self.known.knows.items()}
        if len(rights["cause"]) == len(rights["isolation"]):
            both = zip(rights["cause"], rights["isolation"], strict=True)
            rights["disentanglement"] = [(cause + isolation) / 2 for cause, isolation in both]
        return Scores(values, details, rights)

    def cost(self) -> tuple[Cost, Cost]:
        """A question has about twelve tokens; a gradient runs them forth and back."""
        once = 12 * len(ATTRIBUTES) * (len(cities()) + 2 * self.settings.pairs)
        passes = 2 * 3 + len(COUNTS) + 2 + 2
        return Cost(to_end=once), Cost(to_end=12 * len(ATTRIBUTES) * 2 * self.settings.pairs * passes, seconds=2.0)

    def _answers(self, attribute: str) -> dict[str, int]:
        """First token of each value; values whose first tokens are the same are left out."""
        tokenizer, values = self.bench.language_model.tokenizer, sorted({getattr(city, attribute) for city in cities()})
        first = {value: tokenizer(f" {value}", add_special_tokens=False)["input_ids"][0] for value in values}
        return {value: token for value, token in first.items() if list(first.values()).count(token) == 1}

    def _ask(self) -> Known:
        """Each attribute of each city, and the activation at its last token."""
        everyone, knows, x = cities(), {}, torch.empty(0)
        for attribute, values in self.tokens.items():
            questions = self._questions([(attribute, city) for city in everyone])
            x = x if len(x) else questions.activations()
            said = [list(values)[answer] for answer in questions.logits().argmax(1).tolist()]
            right = (
                city.name for city, answer in zip(everyone, said, strict=True) if getattr(city, attribute) == answer
            )
            knows[attribute] = frozenset(right)
        kept = [
            place for place, city in enumerate(everyone) if sum(city.name in names for names in knows.values()) >= 2
        ]
        return Known(tuple(everyone[place] for place in kept), knows, x[kept])

    def _pairs(self, attribute: str, part: list[int]) -> tuple[Pairs, Questions]:
        """Pairs of the cities `part`, and the question of each: about the attribute, or about one that both have and differ in."""
        known, rows = self.known, []
        order = permutation(len(part) ** 2, f"pairs {attribute}", self.bench.seed).tolist()
        every = [
            pair
            for place in order
            if (pair := (part[place // len(part)], part[place % len(part)])) and pair[0] != pair[1]
        ]
        for cause in (True, False):
            wanted = [attribute] if cause else [other for other in ATTRIBUTES if other != attribute]
            found = [(b, s, other, cause) for b, s in every for other in wanted if self._tells(b, s, attribute, other)]
            rows += found[: self.settings.pairs]
        base, source = (known.x[[row[side] for row in rows]] for side in (0, 1))
        answers = [getattr(known.cities[row[1] if row[3] else row[0]], row[2]) for row in rows]
        places = [list(self.tokens[row[2]]).index(answer) for row, answer in zip(rows, answers, strict=True)]
        asked = self._questions([(row[2], known.cities[row[0]]) for row in rows])
        return Pairs(base, source, torch.tensor(places), torch.tensor([row[3] for row in rows])), asked

    def _tells(self, base: int, source: int, attribute: str, other: str) -> bool:
        """Whether both cities differ in the attribute and in the one that is asked, and the model knows the latter of both."""
        cities, knows = (self.known.cities[base], self.known.cities[source]), self.known.knows[other]
        differ = all(getattr(cities[0], each) != getattr(cities[1], each) for each in (attribute, other))
        return differ and all(city.name in knows for city in cities)

    def _questions(self, about: Sequence[tuple[str, City]]) -> Questions:
        bench = self.bench
        texts = [
            (ENTITY.format(city=city.name), QUESTIONS[attribute].format(city=city.name)) for attribute, city in about
        ]
        answers = [list(self.tokens[attribute].values()) for attribute, _ in about]
        try:
            return Questions.of(bench.language_model.model, bench.site, bench.language_model.tokenizer, texts, answers)
        except ValueError as error:
            raise NotApplicable(str(error)) from None


def swapped(pairs: Pairs, questions: Questions) -> float:
    """Share of the cause questions that get the source's value with its whole activation in place."""
    which = pairs.cause.nonzero().view(-1)
    return float((questions.logits(pairs.source[which], which).argmax(1) == pairs.target[which]).double().mean())
