"""Elements, scales and ticks."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.reports.labels import Labels
from assay.reports.plot import spread
from assay.reports.svg import SHAPES, Scale, marker, padded, tag, tick_labels


def test_what_is_put_into_an_element_is_escaped_but_markup_is_not() -> None:
    inner = tag("title", "<b>")
    assert (
        tag("text", inner, "&", x=1.0, class_='"') == '<text x="1" class="&#34;"><title>&lt;b&gt;</title>&amp;</text>'
    )


def test_coordinates_have_one_decimal_and_no_negative_zero() -> None:
    assert tag("circle", cx=-0.01, cy=12.345, r=3) == '<circle cx="0" cy="12.3" r="3"></circle>'


def test_a_scale_maps_its_ends_and_its_middle() -> None:
    assert [Scale(0, 10, 100, 200)(value) for value in (0, 5, 10)] == [100, 150, 200]
    assert Scale(1, 100, 0, 10, log=True)(10) == pytest.approx(5)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_within_a_linear_scale_and_are_evenly_apart(low: float, size: float) -> None:
    ticks = Scale(low, low + size, 0, 1).ticks()
    slack = 1e-6 * max(abs(low), size)
    assert 2 <= len(ticks) <= 9
    assert all(low - slack <= tick <= low + size + slack for tick in ticks)
    steps = [after - before for before, after in pairwise(ticks)]
    assert max(steps) - min(steps) < slack


@given(st.floats(1e-4, 1e4), st.floats(1.05, 1e5))
def test_ticks_of_a_log_scale_lie_within_it(low: float, factor: float) -> None:
    ticks = Scale(low, low * factor, 0, 1, log=True).ticks()
    assert len(ticks) >= 2
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in ticks)
    assert ticks == sorted(set(ticks))


def test_tick_labels_share_their_decimals() -> None:
    assert tick_labels([0.0, 0.25, 0.5]) == ["0.00", "0.25", "0.50"]
    assert tick_labels([100.0, 1000.0]) == ["100", "1,000"]


def test_equal_values_still_have_a_scale() -> None:
    scale = padded([0.5, 0.5], 0, 1)
    assert scale.low < 0.5 < scale.high


def test_a_scale_never_magnifies_small_differences() -> None:
    scale = padded([0.999, 1.0], 0, 1, least=0.02)
    assert scale.high - scale.low == pytest.approx(0.02)


def test_each_colour_has_a_marker_of_its_own() -> None:
    assert len({marker(kind, 10, 10, 4) for kind in range(len(SHAPES))}) == len(SHAPES)


@given(st.lists(st.floats(0, 100), max_size=12))
def test_labels_at_line_ends_are_moved_apart_and_keep_their_order(places: list[float]) -> None:
    moved = spread(places, 10.0)
    order = sorted(range(len(places)), key=lambda i: (places[i], i))
    gaps = [moved[b] - moved[a] for a, b in pairwise(order)]
    assert all(gap >= 10 - 1e-6 for gap in gaps)


def test_labels_far_apart_stay_where_they_are() -> None:
    assert spread([50.0, 10.0, 30.0], 10.0) == pytest.approx([50.0, 10.0, 30.0])


def test_a_label_avoids_what_is_taken() -> None:
    labels = Labels(0, 0, 400, 300)
    free = labels.text("0.25", 200, 150, class_="dial")
    taken = labels.text("0.25", 200, 150, class_="dial")
    assert free != taken
    assert not math.isclose(labels.taken[0][1], labels.taken[1][1])


@pytest.mark.parametrize(
    "values", [[1e100], [1e100, math.nextafter(1e100, 0)], [-1e100, -1e100], [1e16, 1e16 + 2], [0.0], [1e-100]]
)
@pytest.mark.parametrize("least", [0.0, 0.02])
def test_a_scale_of_any_values_has_a_range_and_ticks(values: list[float], least: float) -> None:
    scale = padded(values, 0, 100, least=least)
    assert scale.low < min(values) <= max(values) < scale.high
    assert len(scale.ticks()) >= 2
    assert all(0 <= scale(value) <= 100 for value in values)
