"""What every registered dictionary must do; a new variant is picked up without touching this file."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from assay.dictionary import Dictionary
from assay.testing import CHECKS, Build, builder


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", Dictionary.registry.names())
def test_every_dictionary(name: str, check: Callable[[Build], None]) -> None:
    check(builder(Dictionary.registry.named(name)))
