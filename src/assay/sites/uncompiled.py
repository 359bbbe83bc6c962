"""Compiled code does not notice hooks that came after it, so while somebody listens it runs as it was written.

PyTorch keeps one switch for the whole process; blocks of several threads, or that end in any order, share it here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import torch

_LOCK, _SWITCH = Lock(), ExitStack()
_blocks = 0


@contextmanager
def uncompiled() -> Iterator[None]:
    """Inside the block nothing that torch.compile made is used; costs nothing in a process that never loaded the compiler."""
    global _blocks
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with _LOCK:
        if _blocks == 0:
            _SWITCH.enter_context(torch.compiler.set_stance("force_eager"))
        _blocks += 1
    try:
        yield
    finally:
        with _LOCK:
            _blocks -= 1
            if _blocks == 0:
                _SWITCH.close()
