"""Linear probes that give the same numbers every time: logistic regression by Newton's method in float64, and its scores.

Both classes weigh the same whatever their sizes, so a probe that has learnt nothing scores 1/2. Columns are brought to unit spread
before they are fitted, because the channels of a language model differ a thousandfold in size, and a penalty sees size alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.errors import ShapeMismatch

NEWTON_STEPS, SMALLEST_GAIN = 50, 1e-10
PENALTY = 1e-3
"""lambda of the penalty of a probe, in the units of the mean loss."""


@dataclass(frozen=True, eq=False)
class Probes:
    """C linear probes: a row belongs to the class of a probe where its logit is positive."""

    weight: Float[Tensor, "C D"]
    bias: Float[Tensor, " C"]

    def logits(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N C"]:
        """x w_c + b_c, in float64."""
        return x.double() @ self.weight.T + self.bias


def fit(x: Float[Tensor, "N D"], y: Bool[Tensor, "N C"], penalty: float = PENALTY) -> Probes:
    """A probe for each column of `y` (one class against all the rest), each with

        min over w, b of  sum_n a_n log(1 + exp(-s_n (w . z_n + b))) + penalty / 2 ||w||^2,

    s_n = +-1, a_n = 1/2 over the number of rows of n's class, z the columns of x about their mean at unit spread. What is given
    back applies to x itself. Raises ShapeMismatch when a class has no row, or all of them.
    """
    mean, spread = _units(x)
    z = (x.double() - mean) / spread
    fitted = torch.stack([_newton(z, member, penalty) for member in _checked(x, y).T])
    weight = fitted[:, :-1] / spread
    return Probes(weight, fitted[:, -1] - weight @ mean)


def fit_sparse(x: Float[Tensor, "N M"], y: Bool[Tensor, "N C"], penalty: float, steps: int = 300) -> Probes:
    """The same with penalty * ||w||_1 in place of the squares, which leaves most weights at zero: accelerated proximal gradient.

    The step is 1 / (largest eigenvalue of the Hessian's bound), so that the loss never rises for want of a learning rate.
    """
    mean, spread = _units(x)
    z = torch.cat([(x.double() - mean) / spread, x.new_ones(len(x), 1).double()], 1)
    signs, shares = _signs_and_shares(_checked(x, y))
    step = 1 / _curvature(z, shares)
    fitted = ahead = z.new_zeros(y.shape[1], z.shape[1])
    momentum = 1.0
    for _ in range(steps):
        slope = -shares * signs * torch.sigmoid(-signs * (z @ ahead.T))
        moved = ahead - step[:, None] * (slope.T @ z)
        weight = torch.nn.functional.softshrink(moved[:, :-1] / step[:, None], penalty) * step[:, None]
        latest = torch.cat([weight, moved[:, -1:]], 1)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        fitted, ahead = latest, latest + (momentum - 1) / following * (latest - fitted)
        momentum = following
    weight = fitted[:, :-1] / spread
    return Probes(weight, fitted[:, -1] - weight @ mean)


def one_against_rest(classes: Int[Tensor, " N"], count: int) -> Bool[Tensor, "N C"]:
    """Whether each row is of each class."""
    return classes[:, None] == torch.arange(count)


def accuracy(logits: Float[Tensor, "N C"], y: Bool[Tensor, "N C"]) -> Float[Tensor, " C"]:
    """Share of rows whose logit has the right sign."""
    return ((logits > 0) == y).double().mean(0)


def balanced_accuracy(logits: Float[Tensor, "N C"], y: Bool[Tensor, "N C"]) -> Float[Tensor, " C"]:
    """Mean of the accuracies among the rows of the class and among all others: 1/2 for whoever ignores x. NaN without either."""
    right = ((logits > 0) == y).double()
    inside, outside = y.double(), (~y).double()
    return ((right * inside).sum(0) / inside.sum(0) + (right * outside).sum(0) / outside.sum(0)) / 2


def hits(logits: Float[Tensor, "N C"], y: Bool[Tensor, "N C"]) -> Float[Tensor, "N C"]:
    """What each row adds to the balanced accuracy: 1 / (2 rows of its kind) where the probe is right of it, else 0."""
    right = ((logits > 0) == y).double()
    inside, outside = y.double(), (~y).double()
    return (right * inside / inside.sum(0) + right * outside / outside.sum(0)) / 2


def f1(logits: Float[Tensor, "N C"], y: Bool[Tensor, "N C"]) -> Float[Tensor, " C"]:
    """2 TP / (2 TP + FP + FN)."""
    said = logits > 0
    return 2 * (said & y).sum(0).double() / (said.sum(0) + y.sum(0)).clamp_min(1)


def auc(logits: Float[Tensor, "N C"], y: Bool[Tensor, "N C"]) -> Float[Tensor, " C"]:
    """Probability that a row of the class has a larger logit than another row, ties counting half. NaN without either."""
    return torch.stack([_auc(scores, member) for scores, member in zip(logits.T, y.T, strict=True)])


def largest_differences(difference: Float[Tensor, " D"], k: int) -> Int[Tensor, " K"]:
    """The k columns with the largest |difference of class means|; of equal ones those that come first."""
    return difference.abs().sort(descending=True, stable=True).indices[:k]


def mean_differences(x: Float[Tensor, "N D"], y: Bool[Tensor, "N C"]) -> Float[Tensor, "C D"]:
    """E[x | class] - E[x | not the class], for each class."""
    inside, outside = y.double(), (~y).double()
    rows = x.double()
    return (inside / inside.sum(0)).T @ rows - (outside / outside.sum(0)).T @ rows


def principal_axes(sample: Float[Tensor, "N D"]) -> Float[Tensor, "D D"]:
    """Unit eigenvectors of the sample's covariance, the one of most variance first."""
    rows = sample.double()
    return torch.linalg.eigh(torch.cov(rows.T)).eigenvectors.flip(1).T


def _newton(z: Tensor, member: Tensor, penalty: float) -> Tensor:
    """Weights and, last, the bias. A step that would raise the loss is halved until it does not."""
    z = torch.cat([z, z.new_ones(len(z), 1)], 1)
    signs, shares = _signs_and_shares(member)
    ridge = torch.full_like(z[0], penalty)
    ridge[-1] = 1e-12 * penalty  # the bias is free; but a Hessian must have an inverse
    w = torch.zeros_like(z[0])
    loss = _loss(z, signs, shares, ridge, w)
    for _ in range(NEWTON_STEPS):
        wrong = torch.sigmoid(-signs * (z @ w))
        gradient = z.T @ (-shares * signs * wrong) + ridge * w
        hessian = (z * (shares * wrong * (1 - wrong))[:, None]).T @ z
        hessian.diagonal().add_(ridge)
        direction = torch.linalg.solve(hessian, gradient)
        step = 1.0
        while (reached := _loss(z, signs, shares, ridge, w - step * direction)) > loss and step > 1e-6:
            step /= 2
        if not loss - reached > SMALLEST_GAIN * loss:
            break
        w, loss = w - step * direction, reached
    return w


def _loss(z: Tensor, signs: Tensor, shares: Tensor, ridge: Tensor, w: Tensor) -> float:
    return float(shares @ torch.nn.functional.softplus(-signs * (z @ w)) + (ridge * w * w).sum() / 2)


def _signs_and_shares(y: Tensor) -> tuple[Tensor, Tensor]:
    """+-1, and the weight of each row in its class's loss."""
    inside = y.double()
    size = inside.sum(0)
    return 2 * inside - 1, torch.where(y, 0.5 / size, 0.5 / (len(y) - size))


def _curvature(z: Tensor, shares: Tensor) -> Tensor:
    """For each class, the largest eigenvalue of z^T diag(a) z / 4, by forty power iterations, and a fiftieth above it."""
    vector = torch.ones(shares.shape[1], z.shape[1], dtype=z.dtype)
    for _ in range(40):
        vector = ((shares.T * (vector @ z.T)) @ z) / 4
        size = vector.norm(dim=1, keepdim=True)
        vector = vector / size
    return 1.02 * size[:, 0]


def _units(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of each column; 1 for one that does not vary."""
    rows = x.double()
    mean = rows.mean(0)
    spread = (rows - mean).square().mean(0).sqrt()
    return mean, torch.where(spread > 1e-12 * (1 + mean.abs()), spread, 1.0)


def _checked(x: Tensor, y: Tensor) -> Tensor:
    members = y.sum(0)
    if len(x) != len(y) or bool(((members == 0) | (members == len(y))).any()):
        raise ShapeMismatch(
            f"{len(x)} rows, and classes of {members.tolist()} of {len(y)} rows",
            expected="as many rows as labels, some of each class and some of no such class",
            do="Give labels of at least two classes.",
        )
    return y


def _auc(scores: Tensor, member: Tensor) -> Tensor:
    values, places = scores.unique(return_inverse=True)
    here = torch.bincount(places[member], minlength=len(values)).double()
    there = torch.bincount(places[~member], minlength=len(values)).double()
    below = there.cumsum(0) - there
    return (here * (below + there / 2)).sum() / (here.sum() * there.sum())
