"""The claims as committed: all of them tried, on three seeds or more, and the page just as they say."""

from __future__ import annotations

import json

import pytest

from assay.dictionary import Dictionary
from tests.science import language
from tests.science.claims import NOT, PARTLY, REPRODUCED, Claim, all_trials
from tests.science.claims_page import PAGE, RESULTS, text

RESULT = json.loads(RESULTS.read_text(encoding="utf-8"))


@pytest.mark.complete
def test_every_claim_was_tried():
    tried = {(row["trial"], row["claim"], row["metric"], row["target"], row["setting"]) for row in RESULT["rows"]}
    stated = {
        (name, claim.claim, claim.metric, claim.target, trial.setting)
        for name, trial in all_trials().items()
        for claim in trial.claims
    }
    assert tried == stated, "run `make science`"


@pytest.mark.complete
@pytest.mark.parametrize("recipe", ["gated_ablations", "sign_aware", "elastic_net", "end_to_end"])
def test_the_readings_that_are_promised_were_made(recipe):
    reader = language.readers()[recipe]
    read = {(row["trial"], row["claim"], row["metric"], row["target"], row["setting"]) for row in language.rows()}
    assert {(recipe, claim.claim, claim.metric, claim.target, reader.setting) for claim in reader.claims} <= read


def test_verdicts_follow_from_the_figures():
    assert all(len(row["seeds"]) >= 3 for row in RESULT["rows"])
    for row in [*RESULT["rows"], *language.rows()]:
        claim = Claim(*(row[key] for key in ("section", "variant", "claim", "metric", "target")))
        assert row["low"] <= row["value"] <= row["high"]
        expected = claim.verdict([row["low"], row["value"], row["high"]])
        assert row["verdict"] == expected or {row["verdict"], expected} == {PARTLY, NOT}
        assert row["variant"] in Dictionary.registry.names()


@pytest.mark.parametrize(
    ("values", "verdict"), [([0.1, 0.2], REPRODUCED), ([0.0, 0.2], PARTLY), ([0.0, 0.01], NOT), ([float("nan")], NOT)]
)
def test_a_verdict_takes_every_seed(values, verdict):
    assert Claim("0", "gated", "it is so", "x", ">= 0.05").verdict(values) == verdict


def test_the_page_is_what_the_results_say():
    assert PAGE.read_text(encoding="utf-8") == text(RESULT, language.rows())
