"""The one contract that every dictionary keeps: raw activations in, sparse codes, raw reconstructions out.

A variant supplies `Config` (with `dial`, the one knob that a sparsity sweep turns), `__init__`, `encode_scaled` (the inference rule,
one row independent of another) and `losses` (the training rule, unweighted named terms), and if it needs to, `start_from`,
`after_step` and `context`. Everything else is final here. Variants share functions, not parents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from assay import config, dictionary_file, ops, ranks, tensor_file
from assay.codes import SparseCodes
from assay.errors import ConfigError, ShapeMismatch
from assay.registry import Registry
from assay.units import Scale, finite_rows


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
    target: Float[Tensor, "B E"]
    """What to reconstruct: x itself, unless the dictionary maps one site to another."""
    dead: Bool[Tensor, " L"] | None = None
    """Latents that have not fired for the tracker's window; None when nobody counts."""
    progress: float = 1.0
    """Fraction of training that is done."""
    downstream: Callable[[Tensor], Tensor] | None = None
    """KL of the model's predictions when raw reconstructions [B D] of these rows take the activations' place; None without a model."""


@dataclass(frozen=True, eq=False)
class Pass:
    """What one forward pass made; `terms` are the loss terms by name, unweighted."""

    codes: SparseCodes
    reconstruction: Float[Tensor, "B E"]
    terms: dict[str, Float[Tensor, ""]]
    notes: Mapping[str, Tensor] = field(default_factory=dict)
    """What else `after_step` learns from."""


class Dictionary(nn.Module, ABC):
    """`width` atoms for `d_in`-wide activations, and the rule that says which of them are present and how strongly.

    Raw activations are raw = scale * x + mean, with the scale and the mean buffers of the dictionary: nobody else rescales anything.
    `atoms[i]` [D] is decoder direction i. `encode` and `decode` take and give raw activations [B D]. One that maps a site to another
    (`Config.maps_to` E) reads [B D] and gives [B E], and learns from rows that hold both side by side.
    """

    registry: ClassVar[Registry[type[Dictionary]]] = Registry("dictionary", "assay.dictionaries")
    name: ClassVar[str]
    paper: ClassVar[str]
    chooses_by_batch: ClassVar[bool] = False
    """Whether training chooses latents across the batch, so that its codes are not those of inference."""
    signed: ClassVar[bool] = False
    """Whether codes may be negative, so that an atom stands for both of its directions."""
    divisible: ClassVar[bool] = True
    """Whether its latents may be spread over processes."""
    not_per_latent: ClassVar[frozenset[str]] = frozenset({"decoder_bias"})
    """Parameters that have no row a latent, whatever their length."""

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

        @property
        def maps_to(self) -> int | None:
            """Width E of what is reconstructed, where that is another tensor than the input."""
            return None

        @property
        def parts(self) -> tuple[int, ...]:
            """Widths of consecutive parts of the input that are scaled apart, each to E||x||^2 = 1; all of it is one by default."""
            return (self.d_in,)

        @property
        def block(self) -> int:
            """Consecutive latents that stand for one subspace together."""
            return 1

        @property
        def d_out(self) -> int:
            """Width of the atoms and of the reconstruction."""
            return self.maps_to or self.d_in

        @property
        def columns(self) -> int:
            """Width of the rows that it learns from: input, and target where that is another tensor."""
            return self.d_in + (self.maps_to or 0)

        @classmethod
        def for_parts(cls, parts: tuple[int, ...]) -> dict[str, Any]:
            """The settings that follow from the widths of the sites whose rows, side by side, it learns from."""
            return {"d_in": sum(parts)}

        def build(self) -> Dictionary:
            """A new dictionary with these settings."""
            return self.owner(self)

        def resized(self, *, d_in: int, width: int) -> Dictionary.Config:
            """The same settings for another shape, or the nearest that they can have; a variant whose settings must add up overrides it."""
            return self.revised({"d_in": d_in, "width": width})

        def brief(self) -> Dictionary.Config:
            """The same settings, with loops cut short that take the same memory however often they run: what a rehearsal does."""
            return self

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
        directions = torch.randn(config.width, config.d_out, generator=generator)
        self.atoms = nn.Parameter(directions / directions.norm(dim=-1, keepdim=True))
        self.decoder_bias = nn.Parameter(torch.zeros(config.d_out))
        self.register_buffer("mean", torch.zeros(config.d_in))
        self.register_buffer("scale", torch.ones(()) if len(config.parts) == 1 else torch.ones(config.d_in))
        self.mean: Tensor
        self.scale: Tensor
        self.target_mean: Tensor
        self.target_scale: Tensor
        if config.maps_to:
            self.register_buffer("target_mean", torch.zeros(config.maps_to))
            self.register_buffer("target_scale", torch.ones(()))

    # What a variant supplies.

    @abstractmethod
    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        """Codes of scaled activations: the inference rule; each row's codes depend on that row alone."""

    @abstractmethod
    def losses(self, step: Step) -> Pass:
        """Codes, reconstruction and unweighted loss terms: one term for each `Weight` in the settings."""

    def start_from(self, x: Float[Tensor, "B D"]) -> None:
        """Set parameters from a sample of scaled activations, once, before training. What learns nothing starts whatever its dial."""

    def after_step(self, result: Pass) -> None:
        """Learn from a training step what no gradient teaches, such as a threshold's running mean."""

    def context(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B E"] | None:
        """What of the scaled reconstruction comes from the scaled activations beside the codes, such as a linear skip."""
        return None

    # What every dictionary does.

    @final
    def encode(self, activations: Float[Tensor, "... D"]) -> SparseCodes:
        """Codes of raw activations. Raises ShapeMismatch."""
        return self.encode_scaled(self.scaled(activations))

    @final
    def decode(self, codes: SparseCodes, activations: Float[Tensor, "B D"] | None = None) -> Float[Tensor, "B E"]:
        """Raw reconstruction of codes, and of the `context` of raw activations where they are given. Raises ShapeMismatch."""
        if codes.width != self.config.width:
            raise ShapeMismatch(
                f"the codes have {codes.width} latents",
                expected=f"{self.config.width}",
                do="Decode codes with the dictionary that made them.",
            )
        beside = None if activations is None else self.context(self.scaled(activations))
        scaled = self.decode_scaled(codes) if beside is None else self.decode_scaled(codes) + beside
        return self.unscaled(scaled)

    @final
    def forward(self, activations: Float[Tensor, "... D"]) -> Float[Tensor, "B E"]:
        """decode(encode(activations), activations)."""
        return self.decode(self.encode(activations), activations)

    @final
    def scaled(self, activations: Float[Tensor, "... D"]) -> Float[Tensor, "B D"]:
        """(raw - mean) / scale. Raises ShapeMismatch."""
        self._check(activations)
        return (activations.to(self.scale.dtype) - self.mean).div_(self.scale)

    @final
    def unscaled(self, reconstruction: Float[Tensor, "B E"]) -> Float[Tensor, "B E"]:
        """Raw values of a scaled reconstruction."""
        mean, scale = (self.target_mean, self.target_scale) if self.config.maps_to else (self.mean, self.scale)
        return reconstruction * scale + mean

    @final
    def scaled_pair(self, rows: Float[Tensor, "B C"]) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B E"]]:
        """Scaled input and target of raw rows to learn from. Raises ShapeMismatch."""
        read, written = self.pair(rows)
        x = self.scaled(read)
        if not self.config.maps_to:
            return x, x
        return x, (written.to(self.scale.dtype) - self.target_mean).div_(self.target_scale)

    @final
    def pair(self, rows: Float[Tensor, "B C"]) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B E"]]:
        """What is read and what is to be reconstructed, of raw rows to learn from. Raises ShapeMismatch."""
        self._check_rows(rows)
        return rows[:, : self.config.d_in], rows[:, self.config.columns - self.config.d_out :]

    @final
    def decode_scaled(self, codes: SparseCodes) -> Float[Tensor, "B E"]:
        """sum_i f_i d_i + b_dec."""
        return ops.decode(codes, self.atoms) + self.decoder_bias

    @final
    def decode_frozen(self, codes: SparseCodes) -> Float[Tensor, "B E"]:
        """The same through a copy of the decoder that gets no gradient."""
        return ops.decode(codes, self.atoms.detach()) + self.decoder_bias.detach()

    @final
    def decode_both(
        self, codes: SparseCodes, others: SparseCodes, *, frozen: bool
    ) -> tuple[Float[Tensor, "B E"], Float[Tensor, "B E"]]:
        """`decode_scaled` of two values on one support; with `frozen` the second is `decode_frozen`."""
        reconstruction, other = ops.decode_pair(codes, others, self.atoms, frozen=frozen)
        bias = self.decoder_bias
        return reconstruction + bias, other + (bias.detach() if frozen else bias)

    @final
    @torch.no_grad()
    def start(self, rows: Float[Tensor, "B C"], scale: Scale | None = None) -> None:
        """Fit mean and scale to raw rows, unless they are given; then let the variant start from x. Raises ShapeMismatch, Diverged."""
        self._check_rows(rows)
        sample, target = rows[:, : self.config.d_in], rows[:, self.config.d_in :]
        scale = scale or Scale.of(sample, self.config.parts)
        self.mean.copy_(scale.mean)
        self.scale.copy_(scale.scale)
        if self.config.maps_to:
            written = Scale.of(target)
            self.target_mean.copy_(written.mean)
            self.target_scale.copy_(written.scale)
        if type(self).start_from is not Dictionary.start_from:
            finite = finite_rows(sample)
            self.start_from(self.scaled(sample if finite.all() else sample[finite]))

    @final
    def learns(self) -> bool:
        """Whether any parameter has a gradient; a baseline such as PCA only starts from a sample."""
        return any(parameter.requires_grad for parameter in self.parameters())

    @final
    def scales_like(self, other: Dictionary) -> bool:
        """Whether both scale rows to learn from the same, to the bit and on the same device."""
        if self.config.maps_to or other.config.maps_to:
            return self is other
        pairs = (self.mean, other.mean), (self.scale, other.scale)
        return all(ours.device == theirs.device and torch.equal(ours, theirs) for ours, theirs in pairs)

    @final
    def is_fitted(self) -> bool:
        """Whether mean and scale were fitted to data."""
        return bool(self.mean.any()) or bool((self.scale != 1.0).any())

    @final
    @torch.no_grad()
    def normalize_atoms(self) -> None:
        """Give every atom unit norm."""
        self.atoms /= self.atoms.norm(dim=-1, keepdim=True)

    @final
    def per_latent_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters with one row a latent, by name."""
        named = {name: p for name, p in self.named_parameters() if name not in self.not_per_latent}
        return {name: p for name, p in named.items() if p.ndim and len(p) == self.config.width}

    @torch.no_grad()
    def reset_latents(
        self,
        latents: Int[Tensor, " R"],
        directions: Float[Tensor, "R E"],
        encoder_norm: float,
        read: Float[Tensor, "R D"] | None = None,
    ) -> None:
        """Begin latents anew: unit atom along a direction, encoder row with a norm along what was read there, all else as at the start.

        Encoders are the parameters whose name ends so; what was read is the direction itself, unless the dictionary maps to another site.
        """
        fresh = type(self)(self.config).per_latent_parameters()
        units = _units(directions, fresh["atoms"][latents])
        for name, parameter in self.per_latent_parameters().items():
            ranks.set_rows(parameter, latents, fresh[name].detach()[latents])
            if name.endswith("encoder") and parameter.ndim == 2:
                along = units if read is None else _units(read, fresh[name][latents])
                ranks.set_rows(parameter, latents, along * encoder_norm)
        ranks.set_rows(self.atoms, latents, units)

    def _check_rows(self, rows: Tensor) -> None:
        if rows.ndim == 2 and self.config.maps_to and rows.shape[1] != self.config.columns:
            raise ShapeMismatch(
                f"the rows to learn from are {rows.shape[1]} wide",
                expected=f"{self.config.columns}: {self.config.d_in} to read and {self.config.maps_to} to write, side by side",
                do="Harvest both sites.",
            )
        if not self.config.maps_to:
            self._check(rows)

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
        dictionary_file.write(Path(folder), self.name, self.config.resolved(), self.provenance, self.state_dict())

    @staticmethod
    def load(folder: Path | str) -> Dictionary:
        """The dictionary that was saved in a folder. Raises MissingMaterial, CorruptData, UnknownName, ConfigError."""
        saved = dictionary_file.read(Path(folder))
        variant = Dictionary.registry.named(saved.name)
        settings = config.parse(variant.Config, saved.config, where=str(saved.path))
        tensors = saved.tensors((settings.width, settings.d_out))  # before anything of that size is built
        dictionary = settings.build()
        tensor_file.compare(saved.path, tensor_file.signature(tensors), tensor_file.signature(dictionary.state_dict()))
        dictionary.load_state_dict(tensors)
        dictionary.provenance = saved.provenance
        return dictionary


def _units(directions: Float[Tensor, "R D"], otherwise: Float[Tensor, "R D"]) -> Float[Tensor, "R D"]:
    """The directions at unit norm, others in place of zeros."""
    length = directions.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, directions / length, otherwise.detach().to(directions))
