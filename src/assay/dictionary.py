"""The one contract that every dictionary keeps: raw activations in, sparse codes, raw reconstructions out.

A variant supplies `Config` (with `dial`, the one knob that a sparsity sweep turns), `__init__`, `encode_scaled` (the inference rule,
one row independent of another) and `losses` (the training rule, unweighted named terms), and if it needs to, `start_from` and
`after_step`. Everything else is final here. Variants share functions, not parents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from assay import __version__, config, disk, ops, ranks, tensor_file
from assay.codes import SparseCodes
from assay.errors import ConfigError, CorruptData, Diverged, ShapeMismatch, shown
from assay.registry import Registry

TENSORS, DESCRIPTION = "dictionary.safetensors", "dictionary.json"
ROWS_AT_ONCE = 2048
"""Rows of a sample that are in float64 at once."""


class Weight(config.Config):
    """How much a loss term counts, and how fast it is brought in."""

    value: float = Field(default=1.0, ge=0)
    """The weight after warm-up."""
    warmup: float = Field(default=0.0, ge=0, le=1)
    """Fraction of training over which the weight rises linearly from zero."""

    def at(self, progress: float) -> float:
        """The weight at a fraction of training."""
        return self.value * min(progress / self.warmup, 1.0) if self.warmup else self.value


@dataclass(frozen=True, eq=False)
class Step:
    """What a training step gives to `losses`; activations are scaled (mean removed, E||x||^2 = 1)."""

    x: Float[Tensor, "B D"]
    """Activations to encode."""
    target: Float[Tensor, "B D"]
    """What to reconstruct: x itself, unless the dictionary maps one site to another."""
    dead: Bool[Tensor, " L"] | None = None
    """Latents that have not fired for the tracker's window; None when nobody counts."""
    progress: float = 1.0
    """Fraction of training that is done."""


@dataclass(frozen=True, eq=False)
class Pass:
    """What one forward pass made; `terms` are the loss terms by name, unweighted."""

    codes: SparseCodes
    reconstruction: Float[Tensor, "B D"]
    terms: dict[str, Float[Tensor, ""]]


@dataclass(frozen=True, eq=False)
class Scale:
    """How raw activations become x = (raw - mean) / scale, with mean zero and E||x||^2 = 1."""

    mean: Float[Tensor, " D"]
    scale: Float[Tensor, ""]

    @classmethod
    def of(cls, sample: Float[Tensor, "B D"]) -> Scale:
        """Fitted to the finite rows of a sample, in float64. Raises Diverged."""
        finite = _finite_rows(sample)
        if not finite.any():
            raise Diverged("no row of the sample is finite", expected="finite activations", do="Harvest them again.")
        mean = sample.new_zeros(sample.shape[1], dtype=torch.float64)
        power = sample.new_zeros((), dtype=torch.float64)
        for rows in _finite_doubles(sample, finite):
            mean += rows.sum(0)
        mean /= finite.sum()
        for rows in _finite_doubles(sample, finite):
            power += (rows - mean).square().sum()
        power /= finite.sum()
        return cls(mean, power.sqrt() if power > 0 else torch.ones_like(power))


def _finite_rows(x: Float[Tensor, "B D"]) -> Bool[Tensor, " B"]:
    """Which rows hold neither NaN nor infinity, found without a copy of them."""
    low, high = x.aminmax(dim=-1)
    return torch.isfinite(low) & torch.isfinite(high)


def _finite_doubles(x: Float[Tensor, "B D"], finite: Bool[Tensor, " B"]) -> Iterator[Float[Tensor, "_ D"]]:
    """The finite rows in float64, some at a time."""
    parts = zip(x.split(ROWS_AT_ONCE), finite.split(ROWS_AT_ONCE), strict=True)
    return (rows[chosen].double() for rows, chosen in parts)


class Dictionary(nn.Module, ABC):
    """`width` atoms for `d_in`-wide activations, and the rule that says which of them are present and how strongly.

    Raw activations are raw = scale * x + mean, with the scale and the mean buffers of the dictionary: nobody else rescales anything.
    `atoms[i]` [D] is decoder direction i. `encode` and `decode` take and give raw activations [B D].
    """

    registry: ClassVar[Registry[type[Dictionary]]] = Registry("dictionary", "assay.dictionaries")
    name: ClassVar[str]
    paper: ClassVar[str]
    chooses_by_batch: ClassVar[bool] = False
    """Whether training chooses latents across the batch, so that its codes are not those of inference."""

    class Config(config.Config):
        d_in: int = Field(default=768, ge=1, lt=2**24)
        """Width D of the activations."""
        width: int = Field(default=16_384, ge=1, lt=2**31)
        """Number of latents L."""
        seed: int = Field(default=0, ge=0, lt=2**63)
        """Seed of the initial atoms."""
        reconstruction: Weight = Weight()
        """Squared error of the reconstruction."""

        owner: ClassVar[type[Dictionary]]
        dial: ClassVar[str]

        def build(self) -> Dictionary:
            """A new dictionary with these settings."""
            return self.owner(self)

        def resized(self, *, d_in: int, width: int) -> Dictionary.Config:
            """The same settings for another shape. A variant with settings that must add up to the width overrides it."""
            return self.revised({"d_in": d_in, "width": width})

        def weights(self) -> dict[str, Weight]:
            """The weight of each loss term by name."""
            values = {name: getattr(self, name) for name in type(self).model_fields}
            return {name: value for name, value in values.items() if isinstance(value, Weight)}

        def dial_value(self) -> float:
            """Where the knob that sets the sparsity stands."""
            return config.value_at(self, self.dial)

    def __init_subclass__(cls, *, name: str, paper: str) -> None:
        own = "Config" in cls.__dict__ and "owner" not in cls.Config.__dict__
        if not own or not hasattr(cls.Config, "dial"):
            raise TypeError(f"{cls.__qualname__} needs a Config class of its own, with a dial")
        cls.name, cls.paper = name, paper
        cls.Config.owner = cls
        Dictionary.registry.add(name, cls)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.provenance: dict[str, Any] = {}
        self.unit_atoms = True
        generator = torch.Generator().manual_seed(config.seed)
        directions = torch.randn(config.width, config.d_in, generator=generator)
        self.atoms = nn.Parameter(directions / directions.norm(dim=-1, keepdim=True))
        self.decoder_bias = nn.Parameter(torch.zeros(config.d_in))
        self.register_buffer("mean", torch.zeros(config.d_in))
        self.register_buffer("scale", torch.ones(()))
        self.mean: Tensor
        self.scale: Tensor

    # What a variant supplies.

    @abstractmethod
    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        """Codes of scaled activations: the inference rule; each row's codes depend on that row alone."""

    @abstractmethod
    def losses(self, step: Step) -> Pass:
        """Codes, reconstruction and unweighted loss terms: one term for each `Weight` in the settings."""

    def start_from(self, x: Float[Tensor, "B D"]) -> None:
        """Set parameters from a sample of scaled activations, once, before training."""

    def after_step(self, result: Pass) -> None:
        """Learn from a training step what no gradient teaches, such as a threshold's running mean."""

    # What every dictionary does.

    @final
    def encode(self, activations: Float[Tensor, "... D"]) -> SparseCodes:
        """Codes of raw activations. Raises ShapeMismatch."""
        return self.encode_scaled(self.scaled(activations))

    @final
    def decode(self, codes: SparseCodes) -> Float[Tensor, "B D"]:
        """Raw reconstruction of codes. Raises ShapeMismatch."""
        if codes.width != self.config.width:
            raise ShapeMismatch(
                f"the codes have {codes.width} latents",
                expected=f"{self.config.width}",
                do="Decode codes with the dictionary that made them.",
            )
        return self.decode_scaled(codes) * self.scale + self.mean

    @final
    def forward(self, activations: Float[Tensor, "... D"]) -> Float[Tensor, "B D"]:
        """decode(encode(activations))."""
        return self.decode(self.encode(activations))

    @final
    def scaled(self, activations: Float[Tensor, "... D"]) -> Float[Tensor, "B D"]:
        """(raw - mean) / scale. Raises ShapeMismatch."""
        self._check(activations)
        return (activations.to(self.scale.dtype) - self.mean).div_(self.scale)

    @final
    def decode_scaled(self, codes: SparseCodes) -> Float[Tensor, "B D"]:
        """sum_i f_i d_i + b_dec."""
        return ops.decode(codes, self.atoms) + self.decoder_bias

    @final
    def decode_frozen(self, codes: SparseCodes) -> Float[Tensor, "B D"]:
        """The same through a copy of the decoder that gets no gradient."""
        return ops.decode(codes, self.atoms.detach()) + self.decoder_bias.detach()

    @final
    def decode_both(
        self, codes: SparseCodes, others: SparseCodes, *, frozen: bool
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        """`decode_scaled` of two values on one support; with `frozen` the second is `decode_frozen`."""
        reconstruction, other = ops.decode_pair(codes, others, self.atoms, frozen=frozen)
        bias = self.decoder_bias
        return reconstruction + bias, other + (bias.detach() if frozen else bias)

    @final
    @torch.no_grad()
    def start(self, sample: Float[Tensor, "B D"], scale: Scale | None = None) -> None:
        """Fit mean and scale to raw activations, unless they are given; then let the variant start from x. Raises Diverged."""
        self._check(sample)
        scale = scale or Scale.of(sample)
        self.mean.copy_(scale.mean)
        self.scale.copy_(scale.scale)
        if type(self).start_from is not Dictionary.start_from:
            finite = _finite_rows(sample)
            self.start_from(self.scaled(sample if finite.all() else sample[finite]))

    @final
    def scales_like(self, other: Dictionary) -> bool:
        """Whether both scale activations the same, to the bit and on the same device."""
        pairs = (self.mean, other.mean), (self.scale, other.scale)
        return all(ours.device == theirs.device and torch.equal(ours, theirs) for ours, theirs in pairs)

    @final
    def is_fitted(self) -> bool:
        """Whether mean and scale were fitted to data."""
        return bool(self.mean.any()) or float(self.scale) != 1.0

    @final
    @torch.no_grad()
    def normalize_atoms(self) -> None:
        """Give every atom unit norm."""
        self.atoms /= self.atoms.norm(dim=-1, keepdim=True)

    @final
    def per_latent_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters with one row a latent, by name."""
        named = {name: p for name, p in self.named_parameters() if name != "decoder_bias"}
        return {name: p for name, p in named.items() if p.ndim and len(p) == self.config.width}

    @torch.no_grad()
    def reset_latents(self, latents: Int[Tensor, " R"], directions: Float[Tensor, "R D"], encoder_norm: float) -> None:
        """Begin latents anew: unit atom along a direction, encoder row along it with a norm, all else as at the start."""
        fresh = type(self)(self.config).per_latent_parameters()
        length = directions.norm(dim=-1, keepdim=True)
        units = torch.where(length > 0, directions / length, fresh["atoms"][latents].to(directions))
        for name, parameter in self.per_latent_parameters().items():
            ranks.set_rows(parameter, latents, fresh[name].detach()[latents])
        ranks.set_rows(self.atoms, latents, units)
        if isinstance(encoder := getattr(self, "encoder", None), nn.Parameter):
            ranks.set_rows(encoder, latents, units * encoder_norm)

    def _check(self, activations: Tensor) -> None:
        if activations.ndim != 2:
            raise ShapeMismatch(
                f"the activations have {activations.ndim} dimensions {tuple(activations.shape)}",
                expected=f"two: rows x {self.config.d_in}",
                do="Flatten the leading ones: activations.flatten(0, -2).",
            )
        if activations.shape[1] != self.config.d_in:
            site = self.provenance.get("site")
            origin = f" (site {site} of {self.provenance.get('model', 'its model')})" if site else ""
            raise ShapeMismatch(
                f"the activations are {activations.shape[1]} wide",
                expected=f"{self.config.d_in}, as this dictionary was built for{origin}",
                do="Harvest that site, or train a new dictionary.",
            )

    # On disk.

    @final
    def save(self, folder: Path | str) -> None:
        """Write the dictionary to a folder: tensors, settings and provenance. Raises OutOfDisk, ConfigError."""
        if self.scale.dtype != torch.float32:
            raise ConfigError(f"the dictionary is {self.scale.dtype}", expected="float32", do="Call .float() before.")
        description = {
            "dictionary": self.name,
            "config": self.config.resolved(),
            "provenance": self.provenance,
            "assay": __version__,
        }

        def fill(part: Path) -> None:
            tensor_file.write(part / TENSORS, self.state_dict())
            disk.write_json(part / DESCRIPTION, description)

        disk.publish(Path(folder), fill)

    @staticmethod
    def load(folder: Path | str) -> Dictionary:
        """The dictionary that was saved in a folder. Raises MissingMaterial, CorruptData, UnknownName, ConfigError."""
        folder = Path(folder)
        description = disk.read_json(folder / DESCRIPTION)
        if problems := disk.check_manifest(folder):
            raise CorruptData(
                problems[0], expected="the dictionary as it was saved", do="Restore the folder, or train it again."
            )
        variant = Dictionary.registry.named(_text(description, "dictionary", folder))
        settings = config.parse(variant.Config, _table(description, "config", folder), where=str(folder / DESCRIPTION))
        path, shape = folder / TENSORS, (settings.width, settings.d_in)
        tensors = tensor_file.read(path)
        found = tensor_file.signature(tensors)
        if found.get("atoms") != ("F32", shape):  # before anything of that size is built
            raise CorruptData(
                f"{path} holds atoms of type and shape {shown(found.get('atoms'))}",
                expected=f"{list(shape)} in float32, as {DESCRIPTION} says",
                do="Restore the folder.",
            )
        dictionary = settings.build()
        tensor_file.compare(path, found, tensor_file.signature(dictionary.state_dict()))
        dictionary.load_state_dict(tensors)
        dictionary.provenance = dict(_table(description, "provenance", folder))
        return dictionary


def _table(description: Any, key: str, folder: Path) -> Mapping[str, Any]:
    value = description.get(key) if isinstance(description, Mapping) else None
    if not isinstance(value, Mapping):
        raise _not_a_dictionary(key, folder)
    return value


def _text(description: Any, key: str, folder: Path) -> str:
    value = description.get(key) if isinstance(description, Mapping) else None
    if not isinstance(value, str):
        raise _not_a_dictionary(key, folder)
    return value


def _not_a_dictionary(key: str, folder: Path) -> CorruptData:
    return CorruptData(
        f"{folder / DESCRIPTION} has no {key!r}",
        expected="the description of a saved dictionary",
        do="Restore the folder.",
    )
