"""A tensor that no module returns can be read and replaced once the model's code has named it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from assay.errors import ShapeMismatch, SiteNotFound
from assay.sites import Site, capture, locate, replace, tap

STATE = Site("state", "tap")


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.steps, self.mix = 0, nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros_like(x[:, 0])
        for step in range(x.shape[1]):
            state = tap("state", torch.tanh(self.mix(state) + x[:, step]))
            self.steps += 1
        return state


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))


def test_a_tap_is_the_tensor_itself_when_nobody_listens(x):
    assert tap("state", x) is x
    assert tap("any words: at all", x) is x


def test_a_tap_is_captured_the_first_time_and_ends_the_forward(x):
    model = Recurrent()
    state = capture(model, [locate(model, "tap:state")], x)[STATE]
    assert torch.equal(state, torch.tanh(model.mix.bias + x[:, 0]))
    assert not state.requires_grad
    assert model.steps == 0


def test_a_tap_is_replaced_every_time(x):
    model = Recurrent()
    seen = []
    with replace(model, {STATE: lambda state: seen.append(state) or torch.zeros_like(state)}):
        assert torch.equal(model(x), torch.zeros(2, 3))
    assert len(seen) == 4
    assert not torch.equal(model(x), torch.zeros(2, 3))


def test_taps_and_modules_are_captured_in_one_forward(x):
    model = Recurrent()
    found = capture(model, [STATE, Site("mix", "in")], x)
    assert list(found) == [STATE, Site("mix", "in")]
    assert torch.equal(found[Site("mix", "in")], torch.zeros(2, 3))


def test_a_capture_within_a_replacement_sees_the_replaced_tap(x):
    model = Recurrent()
    with replace(model, {STATE: lambda state: state + 10}):
        assert capture(model, [STATE], x)[STATE].min() > 8


def test_a_tap_that_is_not_reached_is_an_error(x):
    with pytest.raises(SiteNotFound, match="tap:speed was never reached by Recurrent"):
        capture(Recurrent(), [Site("speed", "tap")], x)


def test_a_tap_of_integers_holds_no_activation():
    model = nn.Identity()
    model.forward = lambda ids: tap("ids", ids)
    with pytest.raises(SiteNotFound, match=r"tap:ids holds no activation but int64 \[4\]"):
        capture(model, [Site("ids", "tap")], torch.arange(4))


def test_a_tap_keeps_its_shape(x):
    model = Recurrent()
    with pytest.raises(ShapeMismatch, match="tap:state"), replace(model, {STATE: lambda state: state[:1]}):
        model(x)


def test_a_compiled_forward_holds_no_trace_of_a_tap(x):
    compiled = torch.compile(lambda x: tap("state", 2 * x) + 1, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), 2 * x + 1)
