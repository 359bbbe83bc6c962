"""Storages are counted when they come and when they go, and only those that were made inside."""

from __future__ import annotations

import torch

from assay.run.needs.tally import Tally

KIB = 1 << 10


def test_the_peak_is_of_what_lives_at_once() -> None:
    with Tally() as tally:
        a = torch.zeros(KIB)
        b = a + 1
        del a
        c = b.half()
        del b, c
    assert tally.peak() == 8 * KIB
    assert tally.sizes == [4 * KIB, 4 * KIB, 2 * KIB]
    assert tally.events == [(0, 1), (1, 1), (0, -1), (2, 1), (1, -1), (2, -1)]


def test_views_and_work_in_place_take_nothing() -> None:
    with Tally() as tally:
        a = torch.zeros(KIB)
        a[3:].mul_(2)[1:].view(-1, 2)
    assert tally.sizes == [4 * KIB]


def test_what_is_older_than_the_block_is_not_counted() -> None:
    old = torch.zeros(KIB)
    with Tally() as tally:
        old += 1
        old.view(2, -1)
        del old
    assert tally.events == []


def test_a_backward_pass_is_counted_too() -> None:
    weight = torch.zeros(KIB, KIB, requires_grad=True)
    x = torch.zeros(4, KIB)
    with Tally() as tally:
        (x @ weight).sum().backward()
    assert weight.grad is not None
    assert max(tally.sizes) == weight.nbytes
    assert tally.number(weight) is None


def test_what_lives_on_is_alive_and_goes_uncounted_afterwards() -> None:
    with Tally() as tally:
        kept = torch.zeros(KIB)
        torch.zeros(1)
        assert tally.alive() == {tally.number(kept)} == {0}
    events = list(tally.events)
    del kept
    assert tally.events == events
