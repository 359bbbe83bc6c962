"""Which records stand on one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from assay.record import Record
from assay.reports.families import dial, families, label

MakeRecord = Callable[..., Record]


def test_a_sweep_is_one_family_named_as_its_paper_names_it(make_record: MakeRecord) -> None:
    records = [make_record("relu", d, 10.0, s) for d in (0.2, 0.1) for s in (0, 1)] + [make_record("gated", 0.1, 9.0)]
    gated, relu = families(records)
    assert (gated.label, gated.place, relu.label, relu.place) == ("Gated", 0, "ReLU", 1)
    assert [(r.dial, r.seed) for r in relu.records] == [(0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)]


def test_two_sweeps_of_one_variant_keep_their_own_names(make_record: MakeRecord) -> None:
    records = [make_record("gated", d, 9.0, arm=f"{name}-{d:g}") for name in ("wide", "narrow") for d in (0.1, 0.2)]
    assert [(group.label, len(group.records)) for group in families(records)] == [("narrow", 2), ("wide", 2)]


def test_records_that_share_dial_and_seed_are_never_averaged(make_record: MakeRecord) -> None:
    records = [make_record("gated", 0.1, 9.0, arm=arm, explained_variance=0.5) for arm in ("one", "other")]
    assert [group.label for group in families(records)] == ["one", "other"]


def test_a_point_is_the_mean_over_seeds_and_keeps_each(make_record: MakeRecord) -> None:
    records = [make_record("gated", 0.1, l0, seed, kl=kl) for seed, (l0, kl) in enumerate([(8.0, 1.0), (12.0, 2.0)])]
    (point,) = families(records)[0].points("kl")
    assert (point.dial, point.l0, point.value) == (0.1, 10.0, 1.5)
    assert point.seeds == ((8.0, 1.0), (12.0, 2.0))


def test_undefined_numbers_make_no_point(make_record: MakeRecord) -> None:
    records = [
        make_record("gated", 0.1, None, kl=1.0),
        make_record("gated", 0.2, 5.0),
        make_record("gated", 0.3, 0.0, kl=1.0),
    ]
    assert families(records)[0].points("kl") == []


def test_an_unregistered_variant_keeps_its_name(make_record: MakeRecord) -> None:
    assert label("of-elsewhere") == "of-elsewhere"
    assert dial(families([make_record("of-elsewhere", 1.0, 5.0)])[0]) == "dial"


@pytest.mark.parametrize(("variant", "setting"), [("gated", "sparsity.value"), ("topk", "k")])
def test_the_dial_is_the_setting_that_it_turns(make_record: MakeRecord, variant: str, setting: str) -> None:
    assert dial(families([make_record(variant, 1.0, 5.0)])[0]) == setting
