"""A saved dictionary: a folder with its tensors, and a description of its settings and of where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from assay import __version__, disk, tensor_file
from assay.errors import CorruptData, shown

TENSORS, DESCRIPTION = "dictionary.safetensors", "dictionary.json"


@dataclass(frozen=True)
class Saved:
    """What a folder says of the dictionary in it."""

    folder: Path
    name: str
    """Registered name of the variant."""
    config: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def path(self) -> Path:
        """The file of its description."""
        return self.folder / DESCRIPTION

    def tensors(self, atoms: tuple[int, int]) -> dict[str, Tensor]:
        """Its tensors, if the atoms have that shape. Raises CorruptData."""
        path = self.folder / TENSORS
        tensors = tensor_file.read(path)
        found = tensor_file.signature(tensors).get("atoms")
        if found != ("F32", atoms):
            raise CorruptData(
                f"{path} holds atoms of type and shape {shown(found)}",
                expected=f"{list(atoms)} in float32, as {DESCRIPTION} says",
                do="Restore the folder.",
            )
        return tensors


def write(
    folder: Path, name: str, config: Mapping[str, Any], provenance: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Write a dictionary to a folder, whole or not at all. Raises OutOfDisk."""
    description = {"dictionary": name, "config": config, "provenance": provenance, "assay": __version__}

    def fill(part: Path) -> None:
        tensor_file.write(part / TENSORS, tensors)
        disk.write_json(part / DESCRIPTION, description)

    disk.publish(folder, fill)


def read(folder: Path) -> Saved:
    """The description in a folder that is as it was saved. Raises MissingMaterial, CorruptData."""
    description = disk.read_json(folder / DESCRIPTION)
    if problems := disk.check_manifest(folder):
        raise CorruptData(
            problems[0], expected="the dictionary as it was saved", do="Restore the folder, or train it again."
        )
    table = description if isinstance(description, Mapping) else {}
    wanted = {"dictionary": str, "config": dict, "provenance": dict}
    for key, kind in wanted.items():
        if not isinstance(table.get(key), kind):
            raise CorruptData(
                f"{folder / DESCRIPTION} has no {key!r}",
                expected="the description of a saved dictionary",
                do="Restore the folder.",
            )
    return Saved(folder, table["dictionary"], table["config"], table["provenance"])
