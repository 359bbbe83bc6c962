"""The exact address of a tensor: a module's path, and whether what goes into the module or what comes out of it is meant.

An address does not depend on how the model is wrapped: DataParallel and torch.compile leave no trace in it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from assay.errors import ConfigError, SiteNotFound, shown


@dataclass(frozen=True)
class Site:
    """`str(site)` is "layers.12:out", ":out" (of the whole model) or "tap:NAME", and `Site.parse` reads it back.

    At "out" the tensor is the first activation (a floating-point tensor with at least one axis) of what the module returns,
    however deep in tuples and mappings; at "in" that of its arguments, the positional ones first, then the named ones in the
    order of the signature of `forward`. Raises ConfigError when the spelling can belong to no module.
    """

    path: str
    """Dotted path as in `model.named_modules()`; for a tap, its name."""
    side: Literal["in", "out", "tap"] = "out"
    """Arguments of the module, its result, or a tensor that the model's own code named with `tap`."""

    def __post_init__(self) -> None:
        parts = self.path.split(".") if self.path or self.side == "tap" else []
        bad = not self.path.isprintable() or ":" in self.path or "" in parts or self.path != self.path.strip()
        if bad or self.side not in ("in", "out", "tap") or (self.side == "tap" and self.path in ("in", "out")):
            raise _misspelt(f"{self.path}:{self.side}")

    @classmethod
    def parse(cls, text: str) -> Site:
        """Read an exact address; the side is "out" when none is written. Raises ConfigError."""
        head, colon, tail = text.strip().rpartition(":")
        if not colon and tail:
            return cls(tail)
        if tail == "in" or tail == "out":
            return cls(head, tail)
        if head == "tap":
            return cls(tail, "tap")
        raise _misspelt(text)

    def __str__(self) -> str:
        return f"tap:{self.path}" if self.side == "tap" else f"{self.path}:{self.side}"

    @property
    def slug(self) -> str:
        """A folder name of ASCII letters, digits, dots and dashes; two sites never share one.

        Dashes stand for underscores. Should one stand for something else, the code points that they stand for are appended.
        """
        replaced = re.findall(r"[^A-Za-z0-9.]", self.path)
        words = [re.sub(r"[^A-Za-z0-9.]", "-", self.path), self.side]
        if set(replaced) - {"_"}:
            words.append("-".join(f"{ord(character):x}" for character in replaced))
        return ".".join(word for word in words if word)


def _misspelt(text: str) -> ConfigError:
    return ConfigError(
        f"{shown(text)} is not the address of a site",
        expected='a module path with its side, such as "layers.12:out" or "layers.12:in", or "tap:NAME"',
        do="Correct its spelling; names such as resid_post.12 are turned into addresses by `locate(model, name)`.",
    )


def unwrapped(module: nn.Module) -> nn.Module:
    """The module inside DataParallel, DistributedDataParallel and torch.compile."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif "_orig_mod" in module._modules:
            module = module.get_submodule("_orig_mod")
        else:
            return module


def modules_of(model: nn.Module, *, remove_duplicate: bool = True) -> dict[str, nn.Module]:
    """Every module by its path without wrappers; one that several paths lead to is there under the first, or under each."""
    named = unwrapped(model).named_modules(remove_duplicate=remove_duplicate)
    return {path.replace("._orig_mod", ""): module for path, module in named}


def module_at(model: nn.Module, site: Site) -> nn.Module:
    """The module whose input or output the site is. Raises SiteNotFound with the nearest paths."""
    try:
        return unwrapped(unwrapped(model).get_submodule(site.path))
    except AttributeError:
        hint = "`locate(model, name)` turns shorter names into addresses."
        raise not_found(model, str(site), modules_of(model), hint=hint) from None


def not_found(model: nn.Module, text: str, names: Iterable[str], *, hint: str) -> SiteNotFound:
    """The error that names the nearest of `names`."""
    name = text.removesuffix(":out").removesuffix(":in")
    close = difflib.get_close_matches(name, [known for known in names if known], n=4, cutoff=0.4)
    return SiteNotFound(
        f"{type(unwrapped(model)).__name__} has no site {shown(text)}",
        expected=f"one that it has; the nearest are {', '.join(close)}" if close else "one that it has",
        do=hint,
    )
