"""Laws are found again in errors that were made by them."""

from __future__ import annotations

import numpy as np
import pytest

from assay.analysis.scaling_law import JointLaw, extrapolation_error, fit_joint_law, fit_power_law
from assay.errors import ConfigError

WIDTHS = [256, 512, 1024, 2048, 4096]


def test_a_power_law_is_found():
    law = fit_power_law(WIDTHS, [3 * n**-0.2 for n in WIDTHS])
    assert (law.slope, np.exp(law.intercept), law.r2) == pytest.approx((-0.2, 3, 1))
    assert law.at(100) == pytest.approx(3 * 100**-0.2)
    assert extrapolation_error(WIDTHS[::-1], [3 * n**-0.2 for n in WIDTHS[::-1]]) == pytest.approx(0, abs=1e-9)


def test_extrapolation_sees_a_bend():
    bent = [3 * n**-0.2 for n in WIDTHS[:-1]] + [0.5]
    assert extrapolation_error(WIDTHS, bent) == pytest.approx(abs(3 * 4096**-0.2 - 0.5) / 0.5)


@pytest.mark.parametrize("zeta", [-1.32, -4.0])
def test_the_joint_law_is_found(zeta):
    truth = JointLaw(
        -0.5, 0.26, -0.017, -0.042, zeta, -0.085, 1.0
    )  # the paper's fit for GPT-4, and one with a lower floor
    grid = [(n, k) for n in WIDTHS for k in (8, 16, 32, 64, 128)]
    n, k = zip(*grid, strict=True)
    law = fit_joint_law(n, k, [truth.at(*point) for point in grid])
    assert law.r2 > 0.9999
    for point in [(8192, 32), (3000, 50)]:
        assert law.at(*point) == pytest.approx(truth.at(*point), rel=0.02)


def test_noise_leaves_finite_coefficients():
    generator = np.random.default_rng(0)
    grid = [(n, k) for n in WIDTHS for k in (8, 16, 32)]
    n, k = zip(*grid, strict=True)
    errors = [0.5 * n**-0.1 * k**-0.2 * np.exp(0.02 * generator.standard_normal()) for n, k in grid]
    law = fit_joint_law(n, k, errors)
    assert all(np.isfinite(value) for value in vars(law).values())
    assert law.r2 > 0.95


@pytest.mark.parametrize("errors", [[0.5, 0.4], [0.5, 0.4, 0.0]])
def test_too_little_is_refused(errors):
    with pytest.raises(ConfigError, match="all positive"):
        fit_power_law(WIDTHS[: len(errors)], errors)
