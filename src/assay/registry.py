"""Find things by name: built-in modules of a package, and entry points of other distributions, in one list.

A family (dictionaries, metrics, edits ...) owns one `Registry`. A class joins it by being defined; nobody lists it anywhere.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from assay.errors import ConfigError, UnknownName, shown

T = TypeVar("T")


class Registry(Generic[T]):
    """Members of one family by name. `package` is searched for modules, and is also the entry-point group for plug-ins."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self.plural = kind.removesuffix("y") + ("ies" if kind.endswith("y") else "s")
        self._members: dict[str, T] = {}
        self._discovered = False

    def add(self, name: str, member: T) -> None:
        """Register `member`; a second member of the same name is a programming error (TypeError)."""
        if name in self._members:
            raise TypeError(f"two {self.plural} are called {name!r}: {self._members[name]!r} and {member!r}")
        self._members[name] = member

    def names(self) -> list[str]:
        """All names, sorted."""
        self._discover()
        return sorted(self._members)

    def named(self, name: str) -> T:
        """The member called `name`; UnknownName suggests the nearest."""
        self._discover()
        if name in self._members:
            return self._members[name]
        close = difflib.get_close_matches(name, self._members, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"`assay list {self.plural}` describes them."
        raise UnknownName(
            f"no {self.kind} is called {shown(name)}", expected=f"one of {', '.join(self.names())}", do=hint
        )

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        try:
            self._import_all()
        except BaseException:
            self._discovered = False
            raise

    def _import_all(self) -> None:
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        for plugin in entry_points(group=self.package):
            try:
                plugin.load()
            except Exception as error:
                raise ConfigError(
                    f"the plug-in {plugin.name!r} ({plugin.value}) failed to import: {error!r}",
                    expected=f"a module that defines a {self.kind}",
                    do="Repair or uninstall the distribution that declares it.",
                ) from error
