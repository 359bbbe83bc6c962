"""Who is listening to which sites, in this thread and task only: another thread may run the same model undisturbed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor

from assay.errors import SiteNotFound
from assay.sites.address import Site
from assay.sites.nested import describe, exchange

Handler = Callable[[Tensor], Tensor]
"""Is given the tensor at a site and returns what the model goes on with."""

LISTENERS: ContextVar[tuple[Listener, ...]] = ContextVar("LISTENERS", default=())


class Listener:
    """The handlers of some sites, and which of those sites have been reached."""

    def __init__(self, handlers: Mapping[Site, Handler]) -> None:
        self.handlers = handlers
        self.reached: set[Site] = set()

    @property
    def active(self) -> bool:
        """Whether it listens in the current thread and task."""
        return any(listener is self for listener in LISTENERS.get())

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen inside the `with` block; blocks may end in any order."""
        LISTENERS.set((*LISTENERS.get(), self))
        try:
            yield
        finally:
            LISTENERS.set(tuple(listener for listener in LISTENERS.get() if listener is not self))

    def hear(self, site: Site, value: Any) -> Any:
        """What the model goes on with at the site; `value` is a tensor, or whatever holds it. Raises SiteNotFound if nothing does.

        While a handler runs nobody listens, so it may run the same model itself.
        """
        if site not in self.handlers:
            return value
        self.reached.add(site)
        token = LISTENERS.set(())
        try:
            changed, found = exchange(value, self.handlers[site])
        finally:
            LISTENERS.reset(token)
        if not found:
            raise SiteNotFound(
                f"{site} holds no activation but {describe(value)}",
                expected="a floating-point tensor with at least one axis",
                do="Choose the other side of the module, or a module before or after it.",
            )
        return changed
