"""How the error falls with the number of latents n and the number k that fire (Gao et al. 2024, arXiv:2406.04093, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from assay.errors import ConfigError

STARTS = ((-1.0, -1.0), (-3.0, 0.0), (-3.0, -0.5), (-6.0, 0.0))
"""Starting values (zeta, eta) of the part of the law that n can't reduce."""
ITERATIONS = 2000


@dataclass(frozen=True)
class PowerLaw:
    """error = exp(intercept) n^slope."""

    intercept: float
    slope: float
    r2: float
    """Explained variance of the logarithms."""

    def at(self, n: float) -> float:
        """The error at n."""
        return float(np.exp(self.intercept + self.slope * np.log(n)))


@dataclass(frozen=True)
class JointLaw:
    """L(n, k) = exp(alpha + beta_k log k + beta_n log n + gamma log k log n) + exp(zeta + eta log k)."""

    alpha: float
    beta_k: float
    beta_n: float
    gamma: float
    zeta: float
    eta: float
    r2: float
    """Explained variance of the logarithms."""

    def at(self, n: float, k: float) -> float:
        """The error at n and k."""
        values = self.alpha, self.beta_k, self.beta_n, self.gamma, self.zeta, self.eta
        return float(np.exp(_log_law(np.array(values), np.log([n]), np.log([k]))[0]))


def fit_power_law(n: Sequence[float], error: Sequence[float]) -> PowerLaw:
    """Least squares of log error on log n. Raises ConfigError where there are fewer than three points, or an error is not positive."""
    _check(error, 3)
    x, y = np.log(np.asarray(n, float)), np.log(np.asarray(error, float))
    slope, intercept = np.polyfit(x, y, 1)
    return PowerLaw(float(intercept), float(slope), _r2(y, intercept + slope * x))


def fit_joint_law(n: Sequence[float], k: Sequence[float], error: Sequence[float]) -> JointLaw:
    """Least squares of log error, by Levenberg and Marquardt's method from several starts; the best is taken.

    Raises ConfigError where there are fewer than seven points, or an error is not positive.
    """
    _check(error, 7)
    log_n, log_k, y = (np.log(np.asarray(values, float)) for values in (n, k, error))
    terms = np.stack([np.ones_like(log_n), log_k, log_n, log_k * log_n], 1)
    plain = np.linalg.lstsq(terms, y, rcond=None)[0]
    found = [
        _least_squares(lambda p: _log_law(p, log_n, log_k) - y, np.array([*plain, zeta, eta])) for zeta, eta in STARTS
    ]
    best = min(found, key=lambda p: float(np.square(_log_law(p, log_n, log_k) - y).sum()))
    return JointLaw(*map(float, best), r2=_r2(y, _log_law(best, log_n, log_k)))


def extrapolation_error(n: Sequence[float], error: Sequence[float]) -> float:
    """|predicted - seen| / seen at the largest n, by the power law of the others. Raises ConfigError as `fit_power_law`."""
    order = np.argsort(n)
    sizes, errors = np.asarray(n, float)[order], np.asarray(error, float)[order]
    law = fit_power_law(sizes[:-1].tolist(), errors[:-1].tolist())
    return abs(law.at(float(sizes[-1])) - float(errors[-1])) / float(errors[-1])


def _log_law(p: np.ndarray, log_n: np.ndarray, log_k: np.ndarray) -> np.ndarray:
    reducible = p[0] + p[1] * log_k + p[2] * log_n + p[3] * log_k * log_n
    return np.logaddexp(reducible, p[4] + p[5] * log_k)


def _least_squares(residuals: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> np.ndarray:
    """Parameters that make the sum of squared residuals a local minimum."""
    p, damping = start, 1e-2
    r = residuals(p)
    for _ in range(ITERATIONS):
        jacobian = np.stack([(residuals(p + step) - r) / 1e-6 for step in 1e-6 * np.eye(len(p))], 1)
        normal = jacobian.T @ jacobian
        step = np.linalg.solve(normal + damping * (np.diag(np.diag(normal)) + 1e-9 * np.eye(len(p))), -jacobian.T @ r)
        tried = residuals(p + step)
        if np.square(tried).sum() < np.square(r).sum():
            p, r, damping = p + step, tried, max(damping / 3, 1e-9)
        elif damping > 1e9:
            break
        else:
            damping *= 4
    return p


def _r2(y: np.ndarray, fitted: np.ndarray) -> float:
    return 1 - float(np.square(y - fitted).sum() / np.square(y - y.mean()).sum())


def _check(error: Sequence[float], least: int) -> None:
    if len(error) < least or min(error) <= 0:
        raise ConfigError(
            f"{len(error)} errors, the smallest {min(error, default=0):g}",
            expected=f"{least} or more, all positive",
            do="Train more widths.",
        )
