"""Rules are English that is read back, run, and found again where they are planted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assay.errors import ConfigError
from assay.interp.judge import RuleJudge
from assay.interp.rules import KINDS, After, OfKind, OneOf, Phrase, Positions, Rule, Suffix, parse
from assay.interp.scorers import detection
from assay.interp.search import find_rule
from assay.interp.windows import WindowSettings, find_windows
from tests.interp.planted_text import RULES, one_latent_a_dimension

CLAUSES = [
    OneOf((" film", " movie")),
    OneOf(("'", '"', "\\", "', '", ", or on ", " that are also ", "#0")),
    After((" the", "\n")),
    Phrase((" of", " the")),
    *(OfKind(kind) for kind in KINDS),
    Suffix("ing"),
    Positions(0, 7),
]


@pytest.mark.parametrize("first", CLAUSES, ids=str)
def test_a_rule_is_read_back_as_it_was_written(first):
    rules = [Rule(((first,),)), *(Rule(((first, other),)) for other in CLAUSES if first.noun or not other.noun)]
    rules += [Rule(((first,), (other,))) for other in CLAUSES]
    for rule in rules:
        read = parse(str(rule))
        assert str(read) == str(rule)
        assert read == rule


def test_a_rule_reads_as_english():
    rule = Rule(((OneOf((" film", " movie")), After((" the",))),))
    assert str(rule) == "fires on ' film', ' movie' after ' the'"
    rule = Rule(((Suffix("ing"), OfKind("beginnings of words")), (Positions(0, 3),)))
    assert str(rule) == (
        "fires on tokens ending in 'ing' that are also beginnings of words, or on any token at positions 0 to 3 of a document"
    )


@pytest.mark.parametrize(
    ("rule", "fires"),
    [
        ("fires on ' film'", [1, 4]),
        ("fires on ' film' after ' the'", [1]),
        ("fires on any token after ' the'", [1, 6]),
        ("fires on the end of ' of' + ' film'", [4]),
        ("fires on numbers", [6]),
        ("fires on punctuation, or on numbers", [6, 7]),
        ("fires on tokens ending in 'e'", [0, 5]),
        ("fires on any token at positions 0 to 11 of a document", [0, 1]),
        ("fires on parts inside of words", []),
    ],
)
def test_a_rule_fires_where_it_says(rule, fires):
    pieces = (" the", " film", " was", " of", " film", " the", " 7", ".")
    assert [at for at, yes in enumerate(parse(rule).fires(pieces, 10)) if yes] == fires


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fires on",
        "fires on nonsense",
        "fires on ' a' after nothing",
        "fires on 'a",
        "words about film",
        "fires on #9",
    ],
)
def test_what_is_no_rule_is_told_so(text):
    with pytest.raises(ConfigError, match="is no rule"):
        parse(text)


def test_planted_rules_are_found_from_windows(planted_text):
    rules, corpus, dictionary = planted_text
    windows = find_windows(dictionary, corpus, WindowSettings(explaining=6), latents=range(len(rules)))
    assert not windows.skipped
    found = [find_rule(each.train) for each in windows.latents]
    assert all(one is not None and one.f1 > 0.9 for one in found)
    judged = [
        detection(RuleJudge(), str(one.rule), each.test) for one, each in zip(found, windows.latents, strict=True)
    ]
    assert all(one.balanced_accuracy >= 0.9 for one in judged)
    assert str(found[0].rule) in ("fires on ' film', ' movie'", "fires on ' movie', ' film'")
    assert str(found[1].rule) in (RULES[1], "fires on the end of ' the' + ' cast'")


def test_rules_about_noise_do_not_hold_on_other_text(planted_text):
    _, corpus, _ = planted_text
    noise = torch.rand(len(corpus), 8, generator=torch.Generator().manual_seed(0))
    corpus = replace(corpus, activations=noise * (noise > 0.98))
    latents = find_windows(one_latent_a_dimension(8), corpus, WindowSettings(explaining=6)).latents
    assert len(latents) == 8
    rules = [find_rule(each.train) for each in latents]
    judged = [detection(RuleJudge(), str(one.rule), each.test) for one, each in zip(rules, latents, strict=True) if one]
    assert sum(one.balanced_accuracy for one in judged) / len(judged) <= 0.55


def test_nothing_is_found_where_nothing_fires(planted_text):
    _, corpus, dictionary = planted_text
    (each,) = find_windows(dictionary, corpus, WindowSettings(explaining=6), latents=[0]).latents
    assert find_rule([window for window in each.train if window.kind != "active"]) is None
