"""What is slow to make: a bench of a language model of a few words, and text with planted rules."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """The site is what block 0 reads: the embedding, of which a latent can know exactly which token it is."""
    from tests.interp.tiny_bench import tiny_bench

    return tiny_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def planted_text():
    """(rules, corpus, dictionary): what is known of it is written in `planted_text.py`."""
    from tests.interp.planted_text import planted

    return planted()
