"""Matching one to one: the pairs of rows and columns whose similarities add up to the most (the Hungarian method)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def assign(similarity: Float[Tensor, "N M"]) -> tuple[Int[Tensor, " K"], Int[Tensor, " K"]]:
    """Rows, rising, and the column of each: K = min(N, M) pairs with the largest total similarity, exactly.

    Shortest augmenting paths (Jonker and Volgenant, 1987), O(N^2 M) for N <= M. Similarities must be finite.
    """
    cost = -similarity.detach().cpu().double().numpy()
    if cost.shape[0] <= cost.shape[1]:
        columns = _columns(cost)
        rows = np.arange(len(columns))
    else:
        rows = _columns(cost.T)
        order = np.argsort(rows)
        rows, columns = rows[order], order
    return torch.from_numpy(rows), torch.from_numpy(columns)


def _columns(cost: np.ndarray) -> np.ndarray:
    """The column of each row of the cheapest matching; there are at least as many columns as rows.

    Rows are brought in one by one. Prices u and v keep cost - u - v >= 0, with equality on matched pairs; a row that comes in takes the
    path of least reduced cost to a free column, and the pairs along it change over.
    """
    count, width = cost.shape
    u, v = np.zeros(count), np.zeros(width)
    row_of = np.full(width, -1)
    for new in range(count):
        least, before = np.full(width, np.inf), np.full(width, -1)
        seen = np.zeros(width, bool)
        row, column, length = new, -1, 0.0
        path_rows, path_columns = [new], []
        while row >= 0:
            reduced = length + cost[row] - u[row] - v
            better = ~seen & (reduced < least)
            least[better], before[better] = reduced[better], column
            column = int(np.where(seen, np.inf, least).argmin())
            length = float(least[column])
            seen[column] = True
            row = int(row_of[column])
            if row >= 0:
                path_rows.append(row)
                path_columns.append(column)
        u[new] += length
        u[path_rows[1:]] += length - least[path_columns]
        v[path_columns] -= length - least[path_columns]
        while column >= 0:
            previous = int(before[column])
            row_of[column] = row_of[previous] if previous >= 0 else new
            column = previous
    matched = np.flatnonzero(row_of >= 0)
    columns = np.empty(count, int)
    columns[row_of[matched]] = matched
    return columns
