"""Models side by side: sites of each by its number, forwards that end at the last site of each, edits that stay in their model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from assay.beside import Beside
from assay.errors import SiteNotFound
from assay.sites import Site, capture, list_sites, locate, replace


class Chain(nn.Module):
    """Blocks that add one, and how many of them have run."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.start, self.ran = start, 0
        self.blocks = nn.ModuleList(Block(self) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.start
        for block in self.blocks:
            x = block(x)
        return x


class Block(nn.Module):
    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.count = lambda: setattr(chain, "ran", chain.ran + 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count()
        return x + 1


@pytest.fixture
def models() -> tuple[Chain, Chain, Beside]:
    first, second = Chain(0.0), Chain(10.0)
    return first, second, Beside([first, second])


X = torch.zeros(2, 3)


def test_a_name_after_a_slash_is_looked_up_in_that_part(models) -> None:
    *_, both = models
    assert locate(both, "1/resid_post.2") == Site("1.blocks.2")
    assert locate(both, "0/resid_pre.-1") == Site("0.blocks.3", "in")
    assert locate(both, "1/blocks.2:in") == Site("1.blocks.2", "in")
    assert locate(both, "1.blocks/0") == Site("1.blocks.0")
    with pytest.raises(SiteNotFound, match="4 blocks"):
        locate(both, "1/resid_post.7")
    with pytest.raises(SiteNotFound, match=r"0/resid_post\.0"):
        locate(both, "resid_post.2")
    with pytest.raises(SiteNotFound):
        locate(both, "2/resid_post.2")


def test_every_name_of_each_model_is_listed_with_its_number(models) -> None:
    *_, both = models
    names = list_sites(both)
    assert names == [f"{part}/{name}" for part in "01" for name in list_sites(Chain(0.0))]
    assert "1/resid_post.3" in names
    assert all(locate(both, name).path.startswith(f"{name[0]}.") for name in names)


def test_each_model_runs_no_further_than_its_own_last_site(models) -> None:
    first, second, both = models
    sites = [Site("0.blocks.1"), Site("1.blocks.0"), Site("0.blocks.0", "in")]
    found = capture(both, sites, X)
    assert list(found) == sites
    assert [float(found[site][0, 0]) for site in sites] == [2.0, 11.0, 0.0]
    assert (first.ran, second.ran) == (2, 1)


def test_a_model_of_which_nothing_is_wanted_does_not_run(models) -> None:
    first, second, both = models
    capture(both, [Site("1.blocks.0")], X)
    assert (first.ran, second.ran) == (0, 1)


def test_the_whole_can_be_read_too(models) -> None:
    *_, both = models
    assert float(capture(both, [Site("")], X)[Site("")][0, 0]) == 4.0
    with pytest.raises(SiteNotFound, match="has no site"):
        capture(both, [Site("2.blocks.0")], X)


def test_an_edit_stays_in_its_model_and_the_first_one_answers(models) -> None:
    *_, both = models
    with replace(both, {Site("1.blocks.3"): torch.zeros_like}):
        assert float(both(X)[0, 0]) == 4.0
    with replace(both, {Site("0.blocks.2"): torch.zeros_like, Site("1.blocks.0"): lambda x: x}):
        assert float(both(X)[0, 0]) == 1.0
