"""The identity edit."""

from __future__ import annotations

import torch

from assay.codes import SparseCodes
from assay.edit import Edit
from assay.interventions.splice import Splice


def test_codes_stay_as_they_are() -> None:
    codes = SparseCodes.dense(torch.eye(3))
    assert Splice()(codes) is codes


def test_it_drops_the_error_term_by_default_and_is_found_by_name() -> None:
    assert Edit.registry.named("splice") is Splice
    assert Splice.error == "drop"
