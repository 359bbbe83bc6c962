"""Read and replace tensors with plain forward hooks, which are gone afterwards whatever happens."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from assay.beside import Beside
from assay.errors import ShapeMismatch, SiteNotFound
from assay.sites.address import Site, module_at, unwrapped
from assay.sites.listener import Handler, Listener
from assay.sites.nested import describe
from assay.sites.uncompiled import uncompiled


def capture(model: nn.Module, sites: Sequence[Site], /, *args: Any, **kwargs: Any) -> dict[Site, Tensor]:
    """Run `model(*args, **kwargs)` without gradient until every site has been reached, and return what was there.

    Each tensor has the shape that the model gives it, usually [B S D], and is safe from later in-place operations of the model.
    A module that runs more than once is read the first time. Keeps the model in the mode (train or eval) it is in.
    Raises SiteNotFound when a site does not exist, is never reached, or holds no activation.
    """
    if apart := _by_model(model, sites):
        each = {part: capture(module, [*own], *args, **kwargs) for part, (module, own) in apart.items()}
        return {site: each[part][inside] for site in sites for part, inside in [_in_part(site)]}
    found: dict[Site, Tensor] = {}
    wanted = dict.fromkeys(sites)
    listener = Listener({site: _keep_in(found, site, len(wanted)) for site in wanted})
    try:
        with torch.no_grad(), _attached(model, listener):
            unwrapped(model)(*args, **kwargs)
    except _AllFound as stop:
        if stop.found is not found:
            raise
    _check_reached(model, listener)
    return {site: found[site] for site in wanted}


def _by_model(model: nn.Module, sites: Sequence[Site]) -> dict[str, tuple[nn.Module, list[Site]]]:
    """Of models side by side, those that hold the sites, with their own: each forward can then end at its own last one."""
    if not isinstance(unwrapped(model), Beside) or any(site.side == "tap" or not site.path for site in sites):
        return {}
    found: dict[str, tuple[nn.Module, list[Site]]] = {}
    parts = dict(unwrapped(model).named_children())
    for site in sites:
        part, inside = _in_part(site)
        if part not in parts:
            return {}
        found.setdefault(part, (parts[part], []))[1].append(inside)
    return found


def _in_part(site: Site) -> tuple[str, Site]:
    part, _, path = site.path.partition(".")
    return part, Site(path, site.side)


@contextmanager
def replace(model: nn.Module, edits: Mapping[Site, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Inside the `with` block every forward of this thread goes on with `edits[site](tensor)` in place of the tensor at the site.

    The function must return the same shape; its result is brought to the dtype and device of the tensor. Gradients flow through
    it. It may run the same model itself: its own forwards are not edited. Blocks nest, the outer one edits first.
    Raises ShapeMismatch when the shape changes, and SiteNotFound when a site does not exist, holds no activation, or was never
    reached by the end of the block, which would mean that an edit silently did nothing.
    """
    listener = Listener({site: _checked(site, edit) for site, edit in edits.items()})
    with _attached(model, listener):
        yield
    _check_reached(model, listener)


class _AllFound(BaseException):
    """Ends a forward; not an Exception, so that no `except Exception` of the model holds it up."""

    def __init__(self, found: dict[Site, Tensor]) -> None:
        self.found = found


def _keep_in(found: dict[Site, Tensor], site: Site, wanted: int) -> Handler:
    def keep(tensor: Tensor) -> Tensor:
        if site not in found:
            last = len(found) == wanted - 1
            # The forward ends at the last one; the others could still be overwritten in place.
            found[site] = tensor.detach() if last else tensor.detach().clone()
            if last:
                raise _AllFound(found)
        return tensor

    return keep


def _checked(site: Site, edit: Callable[[Tensor], Tensor]) -> Handler:
    def change(tensor: Tensor) -> Tensor:
        changed = edit(tensor)
        if not isinstance(changed, Tensor) or changed.shape != tensor.shape:
            raise ShapeMismatch(
                f"the replacement of {site} is {describe(changed)}",
                expected=f"a tensor of the shape that it was given, {list(tensor.shape)}",
                do="Let the function return all of the tensor, the parts that it leaves alone too.",
            )
        return changed.to(tensor)

    return change


@contextmanager
def _attached(model: nn.Module, listener: Listener) -> Iterator[None]:
    with ExitStack() as stack:
        for site in listener.handlers:
            if site.side != "tap":
                stack.callback(_hook(module_at(model, site), site, listener).remove)
        stack.enter_context(uncompiled())
        stack.enter_context(listener.listening())
        yield


def _hook(module: nn.Module, site: Site, listener: Listener) -> RemovableHandle:
    def after(module: nn.Module, args: Any, output: Any) -> Any:
        return listener.hear(site, output) if listener.active else None

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
        if not listener.active:
            return None
        ordered = {name: kwargs[name] for name in sorted(kwargs, key=_place_in(parameters))}
        return listener.hear(site, (args, ordered))

    if site.side == "out":
        return module.register_forward_hook(after)
    parameters = list(inspect.signature(module.forward).parameters)
    return module.register_forward_pre_hook(before, with_kwargs=True)


def _place_in(parameters: list[str]) -> Callable[[str], int]:
    return lambda name: parameters.index(name) if name in parameters else len(parameters)


def _check_reached(model: nn.Module, listener: Listener) -> None:
    missed = [site for site in listener.handlers if site not in listener.reached]
    if missed:
        raise SiteNotFound(
            f"{', '.join(map(str, missed))} was never reached by {type(unwrapped(model)).__name__}",
            expected="sites that the forward passes, and at least one forward, in this thread, through the model itself",
            do="Choose a module that the forward calls; a module whose weights alone are used runs no hook.",
        )
