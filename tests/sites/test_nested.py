"""Whatever a module returns, its first activation is found, and exchanging it keeps the rest."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from transformers.modeling_outputs import CausalLMOutput

from assay.sites.nested import describe, exchange

Pair = namedtuple("Pair", "first second")


@dataclass(frozen=True)
class Frozen:
    note: str
    x: Tensor


X, Y, IDS = torch.ones(2, 3), torch.full((2, 3), 5.0), torch.arange(3)
HOLDERS = {
    "tensor": (X, lambda held: held),
    "tuple": ((None, X, Y), lambda held: held[1]),
    "list": ([IDS, X], lambda held: held[1]),
    "named tuple": (Pair(X, Y), lambda held: held.first),
    "result of torch.max": (torch.max(X, 0), lambda held: held.values),
    "mapping": ({"mask": X > 0, "x": X}, lambda held: held["x"]),
    "deep": ((IDS, {"a": [], "b": [(X, Y)]}), lambda held: held[1]["b"][0][0]),
    "frozen dataclass": (Frozen("n", X), lambda held: held.x),
    "model output": (CausalLMOutput(loss=torch.tensor(1.0), logits=X), lambda held: held.logits),
    "packed": (pack_sequence([X[0], X[1]]), lambda held: held.data),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_the_first_activation_is_exchanged_in_a_copy(holder: str):
    value, get = HOLDERS[holder]
    before = get(value).clone()
    changed, found = exchange(value, lambda tensor: tensor + 1)
    assert found
    assert type(changed) is type(value)
    assert torch.equal(get(changed), before + 1)
    assert torch.equal(get(value), before)


@pytest.mark.parametrize("holder", HOLDERS)
def test_an_unchanged_activation_leaves_the_very_object(holder: str):
    value, _ = HOLDERS[holder]
    changed, found = exchange(value, lambda tensor: tensor)
    assert found
    assert changed is value


def test_the_rest_is_kept():
    changed, _ = exchange((IDS, X, Y, "text"), torch.zeros_like)
    assert changed[0] is IDS
    assert changed[2] is Y
    assert changed[3] == "text"
    packed, _ = exchange(pack_sequence([X[0], X[1]]), torch.zeros_like)
    assert isinstance(packed, PackedSequence)
    assert torch.equal(packed.batch_sizes, torch.tensor([2, 2, 2]))


@pytest.mark.parametrize("value", [None, IDS, torch.tensor(1.0), (IDS, X > 0), {}, "text", Frozen])
def test_ids_masks_and_scalars_are_no_activations(value: Any):
    changed, found = exchange(value, torch.zeros_like)
    assert not found
    assert changed is value


def test_a_value_is_described_by_types_and_shapes():
    assert describe((IDS, None, {"a": X})) == "tuple of int64 [3], NoneType, dict of float32 [2 3]"
