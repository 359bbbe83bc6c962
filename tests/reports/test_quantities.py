"""Numbers as text."""

from __future__ import annotations

import pytest

from assay.reports.quantities import DEAD, L0, UNDEFINED, brief, number, quantity, significant


def test_what_is_not_defined_is_a_dash() -> None:
    assert L0.shown(None) == UNDEFINED == "–"


def test_shares_are_printed_as_percentages() -> None:
    assert DEAD.shown(0.1234) == "12.3"


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(1234.5, 1, "1,234.5"), (-0.25, 2, "−0.25"), (-0.0004, 3, "0.000"), (0.0, 0, "0"), (9.995, 0, "10")],
)
def test_numbers_have_thousands_a_true_minus_and_no_negative_zero(value: float, decimals: int, text: str) -> None:
    assert number(value, decimals) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00012345, "0.000123"), (72.0, "72.0"), (0.9996, "1.000"), (1234567.0, "1,230,000"), (0.0, "0")],
)
def test_significant_digits_are_never_in_exponent_form(value: float, text: str) -> None:
    assert significant(value) == text


@pytest.mark.parametrize(("value", "text"), [(37.0, "37"), (19.52, "19.5"), (100.0, "100"), (0.5, "0.5")])
def test_numbers_in_sentences_have_no_closing_zeros(value: float, text: str) -> None:
    assert brief(value) == text


def test_an_unknown_quantity_gets_three_digits_at_its_largest_value() -> None:
    column = quantity("my_metric", [0.001234, 0.0456, None])
    assert column.label == "my metric"
    assert [column.shown(value) for value in (0.001234, 0.0456, None)] == ["0.0012", "0.0456", "–"]
