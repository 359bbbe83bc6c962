"""Compiled code rests while anybody listens, and only then."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from assay.sites import Site, capture, replace
from assay.sites.uncompiled import uncompiled


def runs_compiled() -> bool:
    return bool(_compiled(torch.ones(1)))


@torch.compile(backend="eager")
def _compiled(x: Tensor) -> Tensor:
    return x if torch.compiler.is_compiling() else 0 * x


def test_compiled_code_rests_inside_the_block_even_when_it_fails():
    def fail() -> None:
        with uncompiled():
            assert not runs_compiled()
            raise ZeroDivisionError

    assert runs_compiled()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert runs_compiled()


def test_blocks_that_end_in_any_order_give_it_back_after_the_last():
    first, second = uncompiled(), uncompiled()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not runs_compiled()
    second.__exit__(None, None, None)
    assert runs_compiled()


def test_a_block_of_another_thread_does_not_end_this_one():
    def block() -> None:
        with uncompiled():
            pass

    with uncompiled():
        thread = threading.Thread(target=block)
        thread.start()
        thread.join()
        assert not runs_compiled()
    assert runs_compiled()


def compiled_whole(model: nn.Sequential) -> nn.Module:
    return torch.compile(model, backend="eager")


def compiled_in_place(model: nn.Sequential) -> nn.Module:
    model.compile(backend="eager")
    return model


def compiled_forward(model: nn.Sequential) -> nn.Module:
    model.forward = torch.compile(model.forward, backend="eager")
    return model


def compiled_part(model: nn.Sequential) -> nn.Module:
    model[0] = torch.compile(model[0], backend="eager")
    return model


@pytest.mark.parametrize("wrap", [compiled_whole, compiled_in_place, compiled_forward, compiled_part, nn.DataParallel])
def test_wrapped_models_are_read_and_replaced_even_after_they_were_compiled(chain, x, wrap):
    clean, first = chain(x), chain[0](x)
    model = wrap(chain)
    assert torch.equal(model(x), clean)
    assert torch.equal(capture(model, [Site("0")], x)[Site("0")], first)
    with replace(model, {Site("0"): torch.zeros_like}):
        assert torch.equal(model(x), chain[2].bias.expand(2, 2))
    assert torch.equal(model(x), clean)
