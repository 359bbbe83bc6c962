"""Which tensors live when: every storage made inside a block and the moment it goes, counted and not timed.

It sees what PyTorch's operations return, in forward and backward passes alike, on the thread that opened the block. Unseen are what a
single operation takes and gives back within itself, and memory that PyTorch did not allocate.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Tally(TorchDispatchMode):
    """Counts inside its `with` block; read it afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        """Bytes of each storage, in the order in which they were made."""
        self.events: list[tuple[int, int]] = []
        """(storage, +1 when it is made or -1 when it goes), in order."""
        self._seen: dict[int, tuple[weakref.ref[Any], int | None]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _tensors((args, kwargs)):
            self._note(tensor, ours=False)
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._note(tensor, ours=True)
        return result

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._seen.clear()  # what goes from now on is not counted

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled under it; PyTorch would import its compiler, 150 MiB, to say so."""
        return False

    def peak(self) -> int:
        """The most bytes that were alive at once."""
        return max(accumulate((sign * self.sizes[storage] for storage, sign in self.events), initial=0))

    def alive(self) -> set[int]:
        """The storages made so far that are still there."""
        return {number for _, number in self._seen.values() if number is not None}

    def number(self, tensor: Tensor) -> int | None:
        """Which storage a tensor has, inside the block; None when it is older than the block or was never seen."""
        return self._seen.get(tensor.untyped_storage()._cdata, (None, None))[1]

    def _note(self, tensor: Tensor, *, ours: bool) -> None:
        """Remember a storage at its first sight: as made here, or as older than the block."""
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):  # a sparse tensor has none; its parts are seen by themselves
            return
        address = storage._cdata
        if address in self._seen:
            return
        number = len(self.sizes) if ours else None
        if number is not None:
            self.sizes.append(storage.nbytes())
            self.events.append((number, 1))
        self._seen[address] = weakref.ref(storage, lambda _: self._gone(address)), number

    def _gone(self, address: int) -> None:
        _, number = self._seen.pop(address, (None, None))
        if number is not None:
            self.events.append((number, -1))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
