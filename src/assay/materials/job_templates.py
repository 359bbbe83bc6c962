"""Sentences about people at work, in which any job and either pronoun may stand: templates, where biographies would be wanted.

Bias in Bios (arXiv:1901.09451) can't be had without an account, so these stand in for it. They are far easier to read than what people
write about themselves: a job is named once, and a pronoun two or three times. Whoever tests a claim about real text needs real text.
"""

from __future__ import annotations

from itertools import product

JOBS = ("professor", "nurse", "architect", "journalist", "surgeon", "psychologist", "attorney", "teacher")
"""In pairs, as SAEBench (arXiv:2503.09532) compares them."""
PRONOUNS = {"he": ("he", "his", "him"), "she": ("she", "her", "her")}
OPENINGS = (
    "The {job} said that",
    "After many years as a {job} in this town,",
    "Everybody here knows the {job}, and",
    "Our {job} left a short message:",
    "When we met the {job} on Monday,",
    "A {job} from the north wrote to us that",
    "Ask the {job} at the end of the street;",
    "According to the {job},",
)
MIDDLES = (
    "{he} had forgotten {his} keys at home",
    "{he} would rather spend the summer with {his} family",
    "{he} was proud of {his} first garden",
    "{he} could not find {his} car that morning",
    "{he} had finished {his} work before noon",
    "{he} always wanted to travel with {his} brother",
    "{he} was tired of {his} long journeys",
    "{he} had sold {his} house near the river",
    "{he} read about it in {his} newspaper",
    "{he} plays music with {his} old friends",
)
ENDS = (
    "and nobody had thanked {him}.",
    "while the others waited for {him}.",
    "which had surprised all of us.",
    "and it did not trouble {him} at all.",
    "because the weather was so good.",
    "so the neighbours asked {him} about it.",
    "although there was little time left.",
    "and that was the last we heard of {him}.",
)
HELD_OUT = (3, 4, 3)
"""So many openings, middles and ends, the last of each, are in the texts to test on, and in no others."""


def sentences() -> list[tuple[str, str, str, bool]]:
    """(text, job, pronoun, whether it is one to test on), in a fixed order."""
    parts = tuple(zip((OPENINGS, MIDDLES, ENDS), HELD_OUT, strict=True))
    seen = product(*(phrases[:-held] for phrases, held in parts))
    unseen = product(*(phrases[-held:] for phrases, held in parts))
    return [
        (_filled(" ".join(phrases), job, pronoun), job, pronoun, test)
        for test, some in ((False, seen), (True, unseen))
        for phrases, job, pronoun in product(some, JOBS, PRONOUNS)
    ]


def _filled(template: str, job: str, pronoun: str) -> str:
    he, his, him = PRONOUNS[pronoun]
    article = template.replace("a {job}", "an {job}").replace("A {job}", "An {job}") if job[0] in "aeiou" else template
    return article.format(job=job, he=he, his=his, him=him)
