"""Sentences are true for whichever arm wins, and say what they cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from assay.record import Record
from assay.reports.findings import key_figures, limits, no_loss_to_recover, sentences

MakeRecord = Callable[..., Record]
Points = Sequence[tuple[float, float]]


def sweep(
    make_record: MakeRecord, variant: str, key: str, points: Points, seeds: Sequence[float] = (0.0,)
) -> list[Record]:
    """Records of (L0, value); each of `seeds` is added to the values of one seed."""
    return [
        make_record(variant, 1 / l0, l0, seed, **{key: value + shift})
        for l0, value in points
        for seed, shift in enumerate(seeds)
    ]


def loss(make_record: MakeRecord, variant: str, points: Points, seeds: Sequence[float] = (0.0,)) -> list[Record]:
    return sweep(make_record, variant, "loss_recovered_zero", points, seeds)


HIGH, LOW = [(10.0, 0.90), (90.0, 0.98)], [(10.0, 0.88), (90.0, 0.96)]


def test_values_at_matched_l0_are_interpolated(make_record: MakeRecord) -> None:
    found = sentences(loss(make_record, "gated", HIGH) + loss(make_record, "relu", LOW))
    assert found == [
        "At L0 = 30, Gated recovers 0.940 of the loss (zero ablation), ReLU 0.920; "
        "Gated is ahead at every L0 from 10 to 90.",
        "To recover 0.930 of the loss (zero ablation), ReLU needs 1.73 times the L0 of Gated (L0 39.5 against 22.8).",
        "One seed: no spread.",
    ]


def test_the_sentences_follow_the_numbers_and_not_the_names(make_record: MakeRecord) -> None:
    one = sentences(loss(make_record, "gated", HIGH) + loss(make_record, "relu", LOW))
    other = sentences(loss(make_record, "relu", HIGH) + loss(make_record, "gated", LOW))
    swapped = [s.replace("Gated", "?").replace("ReLU", "Gated").replace("?", "ReLU") for s in one]
    assert other == swapped


def test_lines_that_cross_make_nobody_the_winner(make_record: MakeRecord) -> None:
    steep = [(10.0, 0.80), (90.0, 0.99)]
    (first, *_) = sentences(loss(make_record, "gated", HIGH) + loss(make_record, "relu", steep))
    assert first.endswith("the lines meet or cross between L0 10 and 90, so neither is ahead throughout.")


def test_ranges_that_do_not_overlap_are_not_compared(make_record: MakeRecord) -> None:
    dense = [(200.0, 0.97), (400.0, 0.99)]
    found = sentences(loss(make_record, "gated", HIGH) + loss(make_record, "relu", dense))
    assert "The L0 ranges of Gated (10 to 90) and ReLU (200 to 400) do not overlap" in found[0]
    assert not any(sentence.startswith("At L0") for sentence in found)


def test_equal_numbers_are_no_difference(make_record: MakeRecord) -> None:
    found = sentences(loss(make_record, "gated", HIGH) + loss(make_record, "relu", HIGH))
    assert "there is no difference at 3 decimals" in found[0]
    assert "need the same L0" in found[1]


def test_a_difference_within_the_spread_of_seeds_is_called_that(make_record: MakeRecord) -> None:
    noisy = (-0.03, 0.0, 0.03)
    found = sentences(loss(make_record, "gated", HIGH, noisy) + loss(make_record, "relu", LOW, noisy))
    assert found[0] == (
        "At L0 = 30, Gated recovers 0.940 [0.910, 0.970] of the loss (zero ablation), ReLU 0.920 [0.890, 0.950]; "
        "the difference is within the spread of the seeds."
    )
    assert found[-1] == "Seeds: Gated 3, ReLU 3. Brackets give the lowest and the highest."


def test_a_difference_beyond_the_spread_of_seeds_is_not(make_record: MakeRecord) -> None:
    quiet = (-0.001, 0.001)
    found = sentences(loss(make_record, "gated", HIGH, quiet) + loss(make_record, "relu", LOW, quiet))
    assert found[0].endswith("Gated is ahead in the mean at every L0 from 10 to 90.")


def test_shrinkage_favours_what_is_nearer_to_one_from_either_side(make_record: MakeRecord) -> None:
    key = "relative_reconstruction_bias"
    over = sweep(make_record, "gated", key, [(10.0, 1.02), (90.0, 1.02)])
    under = sweep(make_record, "relu", key, [(10.0, 0.90), (90.0, 0.90)])
    assert sentences(over + under)[0] == (
        "At L0 = 30, the relative reconstruction bias γ is 1.020 for Gated and 0.900 for ReLU "
        "(1 is unbiased, below 1 reconstructions shrink); Gated is nearer to 1."
    )


def test_a_loss_recovered_that_falls_with_l0_gives_no_ratio(make_record: MakeRecord) -> None:
    falling = [(10.0, 0.95), (90.0, 0.90)]
    found = sentences(loss(make_record, "gated", HIGH) + loss(make_record, "relu", falling))
    assert not any("times the L0" in sentence for sentence in found)


def test_several_families_are_ranked_together_and_compared_in_pairs(make_record: MakeRecord) -> None:
    middle = [(10.0, 0.89), (90.0, 0.97)]
    found = sentences(
        loss(make_record, "gated", HIGH) + loss(make_record, "relu", LOW) + loss(make_record, "topk", middle)
    )
    assert found[0] == "Loss recovered (zero) at L0 = 30, best first: Gated 0.940, TopK 0.930, ReLU 0.920."
    assert len(found) == 1 + 3 + 1


def test_one_family_is_described_and_not_compared(make_record: MakeRecord) -> None:
    assert sentences(loss(make_record, "gated", HIGH)) == [
        "Loss recovered (zero) at L0 = 30: Gated 0.940.",
        "Gated alone was measured: there is nothing to compare it with.",
        "One seed: no spread.",
    ]


def test_what_cannot_be_compared_is_said(make_record: MakeRecord) -> None:
    point = [make_record("relu", 0.1, 20.0, loss_recovered_zero=0.9)]
    assert sentences([]) == ["Nothing was measured."]
    assert sentences(loss(make_record, "gated", HIGH) + point) == [
        "ReLU has fewer than two points: no line to compare along."
    ]
    apart = loss(make_record, "gated", HIGH) + sweep(make_record, "relu", "kl", LOW)
    assert sentences(apart) == ["The records share no number that could be compared at matched L0."]


def test_key_figures_are_read_at_an_l0_that_all_reach(make_record: MakeRecord) -> None:
    recovered, needed = key_figures(loss(make_record, "gated", HIGH) + loss(make_record, "relu", LOW))
    assert recovered.note == "at L0 = 30"
    assert [(group.label, text) for group, text in recovered.values] == [("Gated", "0.940"), ("ReLU", "0.920")]
    assert needed.note == "to recover 0.930 of the loss"
    assert [text for _, text in needed.values] == ["22.8", "39.5"]


def test_a_lone_record_shows_its_own_numbers(make_record: MakeRecord) -> None:
    figures = key_figures([make_record("gated", 0.1, 20.04, explained_variance=0.75)])
    assert [(figure.label, figure.values[0][1]) for figure in figures] == [
        ("L0", "20.0"),
        ("Explained variance", "0.750"),
    ]


def test_limits_follow_from_the_records(make_record: MakeRecord) -> None:
    dead = make_record("gated", 0.1, 20.0, dead_fraction=0.6, ce_clean=3.0, ce_zero=11.0, ce_mean=6.0)
    found = limits([dead])
    assert found[0] == "Every number is from 1,000 held-out tokens of one source, at one site of one model."
    assert "with zero ablation 0.01 of it is 0.080 nats, with mean ablation 0.030" in found[1]
    assert any(sentence.startswith("One seed an arm") for sentence in found)
    assert any("latents of gated-0.1-s0 never fired" in sentence for sentence in found)
    assert limits([]) == []


def test_where_ablation_costs_nothing_loss_recovered_says_nothing(make_record: MakeRecord) -> None:
    helped = make_record("gated", 0.1, 20.0, ce_clean=10.818, ce_zero=10.806, ce_mean=10.811)
    said = no_loss_to_recover([helped])
    assert said in limits([helped])
    assert "with zero and mean ablation of this site the model predicts no worse" in said
    assert "(cross-entropy 10.806 and 10.811, and 10.818 as it is)" in said
    assert no_loss_to_recover([make_record("gated", 0.1, 20.0, ce_clean=3.0, ce_zero=11.0, ce_mean=6.0)]) == ""
    assert "with mean ablation" in no_loss_to_recover(
        [make_record("gated", 0.1, 20.0, ce_clean=3.0, ce_zero=11.0, ce_mean=3.0)]
    )
