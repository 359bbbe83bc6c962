"""Known answers: true explanations, other latents' explanations, highlights that are moved, and judges that know nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from assay.errors import ConfigError
from assay.interp.agreement import agreement, auc, correlation, mann_whitney, mean_over_latents
from assay.interp.judge import EmbeddingJudge, Judge, RuleJudge, Shown, shown
from assay.interp.scorers import detection, fuzzing, intruder, shuffled, similarity, simulation
from assay.interp.windows import WindowSettings, find_windows

JUDGE = RuleJudge()


@pytest.fixture(scope="module")
def known(planted_text):
    rules, corpus, dictionary = planted_text
    return list(
        zip(rules, find_windows(dictionary, corpus, WindowSettings(), latents=range(len(rules))).latents, strict=True)
    )


def mean(values):
    return float(np.mean(values))


def test_true_explanations_score_high(known):
    assert min(detection(JUDGE, rule, each.test).balanced_accuracy for rule, each in known) >= 0.9
    assert min(fuzzing(JUDGE, rule, each.test).balanced_accuracy for rule, each in known) >= 0.9
    assert min(fuzzing(JUDGE, rule, each.test, wrong="active").balanced_accuracy for rule, each in known) >= 0.9
    assert min(simulation(JUDGE, rule, each.test) for rule, each in known) >= 0.8
    assert min(similarity(JUDGE, rule, each.test) for rule, each in known) >= 0.9


def test_explanations_of_other_latents_score_as_if_nothing_was_known(known):
    scores = []
    for seed in range(8):
        others = shuffled(len(known), seed)
        scores += [detection(JUDGE, known[other][0], known[own][1].test) for own, other in enumerate(others)]
    assert abs(mean([one.balanced_accuracy for one in scores]) - 0.5) <= 0.05


def test_nobody_gets_their_own_explanation_in_the_control_arm():
    for count in (2, 3, 60):
        others = shuffled(count, seed=1)
        assert sorted(others) == list(range(count))
        assert all(own != other for own, other in enumerate(others))


def test_highlights_moved_by_one_token_are_noticed(known):
    right = mean([fuzzing(JUDGE, rule, each.test).balanced_accuracy for rule, each in known])
    moved = mean([fuzzing(JUDGE, rule, each.test, moved=1).balanced_accuracy for rule, each in known])
    assert right - moved >= 0.1


def test_wrong_highlights_are_as_many_as_right_ones_and_on_other_tokens(known):
    seen: list[Shown] = []

    class Sees(Judge):
        def fuzz(self, explanation, windows):
            seen.extend(windows)
            return np.zeros(len(windows))

    _, each = known[0]
    active = [window for window in each.test if window.kind == "active"]
    fuzzing(Sees(), "", each.test, wrong="active")
    assert [one.highlighted for one in seen[: len(active)]] == [window.fires for window in active]
    for window, false in zip(active, seen[len(active) :], strict=True):
        assert sum(false.highlighted) == sum(window.fires)
        assert not any(a and b for a, b in zip(false.highlighted, window.fires, strict=True))
    seen.clear()
    fuzzing(Sees(), "", each.test)
    usual = int(np.ceil(mean([sum(window.fires) for window in active])))
    assert {sum(one.highlighted) for one in seen[len(active) :]} == {usual}


def test_the_same_seed_gives_the_same_score_and_another_one_other_highlights(known):
    rule, each = known[2]
    first = fuzzing(JUDGE, rule, each.test, seed=3)
    assert first == fuzzing(JUDGE, rule, each.test, seed=3)


def test_an_explanation_that_says_nothing_scores_half(known):
    for _, each in known:
        assert detection(JUDGE, "", each.test).balanced_accuracy == 0.5
        assert fuzzing(JUDGE, "", each.test).balanced_accuracy == 0.5
        assert similarity(JUDGE, "", each.test) == 0.5
        assert simulation(JUDGE, "", each.test) is None


def test_an_intruder_is_found_by_a_judge_that_looks_and_by_chance_by_one_that_does_not(known):
    rule, each = known[2]

    class Looks(Judge):
        def odd(self, windows):
            return 1 - RuleJudge().detect(rule, windows)

    class Guesses(Judge):
        def odd(self, windows):
            return np.array([hash(window.pieces[:3]) % 97 / 97 for window in windows])

    assert intruder(Looks(), each.test) >= 0.95
    assert intruder(Guesses(), each.test) < 0.6
    assert intruder(Looks(), each.test[:3]) is None


def test_the_embedding_judge_finds_windows_by_likeness(known):
    def embed(texts):
        words = torch.tensor(
            [[float(text.count(word)) for word in (" film", " movie", " Paris")] + [0.01] for text in texts]
        )
        return torch.nn.functional.normalize(words, dim=-1)

    judge = EmbeddingJudge(SimpleNamespace(embed=embed))
    rule, each = known[0]
    assert similarity(judge, rule, each.test) > 0.9
    assert similarity(judge, "", each.test) == 0.5
    assert intruder(judge, each.test) > 0.6


def test_breakdowns_are_by_quantile_and_by_kind(known):
    rule, each = known[0]
    found = detection(JUDGE, rule, each.test)
    assert sorted(found.by_quantile) == list(range(10))
    assert sorted(found.by_kind) == ["neighbour", "random"]


def test_agreement_is_its_formulas():
    probability = np.array([0.9, 0.4, 0.6, 0.1, 0.5])
    so = np.array([True, True, False, False, True])
    found = agreement(probability, so, [0, 1, -1, -1, 1], ["active", "active", "random", "neighbour", "active"])
    assert found.recall == pytest.approx(2 / 3)
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found.precision == pytest.approx(2 / 3)
    assert found.f1 == pytest.approx(2 / 3)
    assert found.by_quantile == {0: 1.0, 1: 0.5}
    assert found.by_kind == {"neighbour": 1.0, "random": 0.0}
    pairs = [(p > n) + (p == n) / 2 for p in probability[so] for n in probability[~so]]
    assert found.auc == pytest.approx(mean(pairs))


def test_the_auc_of_ties_is_half_and_undefined_numbers_are_none():
    assert auc(np.ones(6), np.arange(6) < 2) == 0.5
    assert auc(np.ones(3), np.ones(3, bool)) is None
    assert correlation(np.ones(3), np.arange(3.0)) is None
    assert agreement(np.zeros(2), np.array([True, True])).balanced_accuracy is None
    assert mean_over_latents([None]).estimate is None


def test_the_interval_over_latents_holds_the_mean():
    found = mean_over_latents([0.4, 0.6, None, 0.9, 0.7])
    assert found.estimate == pytest.approx(0.65)
    assert 0.4 <= found.low < found.estimate < found.high <= 0.9


def test_a_judge_says_what_it_cannot_do(known):
    with pytest.raises(ConfigError, match="RuleJudge does not odd; expected one of detect, fuzz, simulate"):
        JUDGE.odd(shown(known[0][1].test))


def test_marks_stand_around_runs_of_tokens():
    assert Shown((" a", " b", " c", " d"), 0, (True, True, False, True)).marked == "<< a b>> c<< d>>"
    assert Shown((" a", " b"), 0).marked == Shown((" a", " b"), 0).text == " a b"


def test_mann_whitney_is_its_formula_with_ties():
    above, below = [0.5, 0.7, 0.7, 0.9], [0.1, 0.5, 0.3, 0.2, 0.7]
    assert mann_whitney(above, below) == pytest.approx(0.03993, abs=1e-4)  # U 17.5, mean 10, sd 3.9965
    assert mann_whitney(below, above) > 0.9
    assert mann_whitney([1.0] * 5, [1.0] * 5) == 1.0
