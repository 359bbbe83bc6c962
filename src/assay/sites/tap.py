"""An address for a tensor that no module takes or returns: the model's own code names it in passing."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.sites.address import Site
from assay.sites.listener import LISTENERS


def tap(name: str, tensor: Tensor) -> Tensor:
    """`tensor` itself, known from now on as the site `tap:NAME`: `state = tap("state", state)` inside a forward.

    Under `replace` it is what the replacement returned, so go on with the result. When nobody listens it costs the look-up of
    one variable; compiled code holds no trace of it. Raises ConfigError when somebody listens and the name is no address.
    """
    if torch.compiler.is_compiling():
        return tensor
    for listener in LISTENERS.get():
        tensor = listener.hear(Site(name, "tap"), tensor)
    return tensor
