"""Everything a run depends on, in one typed tree: read from TOML or returned by a recipe, written as resolved JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from assay import config
from assay.beside import JOINT
from assay.config import Config
from assay.dictionary import Dictionary
from assay.errors import ConfigError, shown
from assay.registry import Registry
from assay.training import TrainConfig

recipes: Registry[Callable[[], Run]] = Registry("recipe", "assay.recipes")


class ModelSettings(Config):
    """The network whose activations are taken apart."""

    name: str = "smollm2"
    """A packaged model, a local folder, or a Hugging Face causal language model. "a + b" reads both, whose sites are then called
    "0/resid_post.9" and "1/resid_post.9"."""


class SourceSettings(Config):
    """The text that is fed to it."""

    texts: str = "reviews"
    """A packaged text, a .txt or .jsonl file, or a folder of .txt files."""
    context: int = Field(default=128, ge=2)
    """Tokens a context."""
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Share of the documents that training never sees."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the order of documents and of which are held out."""


class HarvestSettings(Config):
    """Which activations are kept, and how."""

    site: str = Field(default="resid_post.9", max_length=500)
    """Where in the model; `assay list sites` names them. "mlp_in.9 + mlp_out.9" reads several, side by side."""
    tokens: int = Field(default=200_000, ge=1)
    """Rows to keep: tokens that are neither special nor first in their context."""
    dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    """Number format on disk."""
    rows_per_shard: int = Field(default=32_768, ge=1)
    """About how many rows a shard file holds."""
    batch_contexts: int = Field(default=16, ge=1)
    """Contexts in one forward pass."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the order of contexts and of rows in a shard."""

    @property
    def sites(self) -> tuple[str, ...]:
        """The name of each site."""
        return tuple(name.strip() for name in self.site.split(JOINT))

    @field_validator("site")
    @classmethod
    def _names_each_site_once(cls, site: str) -> str:
        names = [name.strip() for name in site.split(JOINT)]
        if len(set(names)) < len(names) or (len(names) > 1 and "" in names):
            raise ValueError(f'sites that differ, with "{JOINT}" between two')
        return site


class BatchSettings(Config):
    """The order in which rows are learnt from."""

    size: int = Field(default=2048, ge=1)
    """Rows a batch."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the order."""
    window: int = Field(default=8, ge=1)
    """Shards that are mixed at a time."""
    contexts: int | None = Field(default=None, ge=1)
    """Whole contexts a batch, run through the model when they are needed, so that a loss may ask for its predictions; None reads
    `size` rows of the store."""

    def rows(self, context: int) -> int:
        """Rows a batch, at the most, where a context has so many tokens."""
        return self.contexts * context if self.contexts else self.size


class EvaluateSettings(Config):
    """How much held-out text decides."""

    tokens: int = Field(default=8192, ge=1)
    """Held-out tokens to evaluate on."""
    at_once: int = Field(default=32, ge=2)
    """Dictionaries that share a run of the layers before the site (with the clean, zero and mean forward); fewer take less memory."""
    baselines: tuple[str, ...] = ("random", "identity")
    """Variants that learn nothing, measured beside: random directions and raw channels, with as many active as `baselines_at`."""
    baselines_at: str | None = None
    """The arm whose L0 the baselines have; by default the arm with the median L0."""

    def beside(self, like: Dictionary.Config, active: float) -> dict[str, Dictionary.Config]:
        """The baselines by name, shaped like a dictionary that maps a site to itself. Raises UnknownName, ConfigError."""
        found: dict[str, Dictionary.Config] = {}
        for name in () if like.maps_to else self.baselines:
            settings = Dictionary.registry.named(name).Config().resized(d_in=like.d_in, width=like.width)
            if not isinstance(settings.dial_value(), int):
                raise ConfigError(
                    f"evaluate.baselines has {shown(name)}, whose dial is {settings.dial}",
                    expected="variants whose dial counts active latents, such as random and identity",
                    do="Leave it out, or train it like the others.",
                )
            k = min(max(round(active), 1), settings.width)
            found[f"{name}@{k}"] = settings.revised({settings.dial: k})
        return found


class SuiteSettings(Config):
    """What tasks try, and how."""

    arms: tuple[str, ...] = ()
    """Arms that are tried, beside the baselines; by default the middle sparsity of each dictionary, first seed."""
    tasks: dict[str, dict[str, Any]] = {}
    """Settings of tasks by their names, where they are not the defaults."""


class LatentSettings(Config):
    """Which latents the report shows."""

    count: int = Field(default=12, ge=0)
    """Latents shown."""
    arm: str | None = None
    """Whose; by default the middle one of the first dictionary's sweep."""


class Run(Config):
    """A complete run."""

    name: str = "run"
    """Names its folder under runs/."""
    title: str = ""
    """Heading of its report."""
    model: ModelSettings = ModelSettings()
    source: SourceSettings = SourceSettings()
    harvest: HarvestSettings = HarvestSettings()
    batches: BatchSettings = BatchSettings()
    train: TrainConfig = TrainConfig()
    dictionaries: dict[str, dict[str, Any]]
    """By name: `variant` and settings of that variant; d_in is filled in."""
    sweep: dict[str, tuple[float, ...]] = {}
    """By the same name: values of the variant's dial, used by `assay sweep`."""
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field(default=(0,), min_length=1)
    """Seeds of the initial atoms; each is a dictionary of its own in a sweep."""
    evaluate: EvaluateSettings = EvaluateSettings()
    suites: SuiteSettings = SuiteSettings()
    latents: LatentSettings = LatentSettings()

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
            raise ValueError("letters, digits, dots, dashes and underscores, at most 100")
        return name

    @field_validator("dictionaries")
    @classmethod
    def _each_has_a_variant(cls, tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if not tables:
            raise ValueError("at least one table [dictionaries.NAME]")
        for name, table in tables.items():
            cls._names_a_folder(name)
            if not isinstance(table.get("variant"), str):
                raise ValueError(
                    f'[dictionaries.{name}] with variant = "gated", or another of `assay list dictionaries`'
                )
        return tables

    @model_validator(mode="after")
    def _sweeps_what_exists(self) -> Run:
        if missing := sorted(set(self.sweep) - set(self.dictionaries)):
            raise ValueError(f"[sweep] to name dictionaries of this run; {shown(missing[0])} is none")
        return self

    def arms(self, *parts: int, sweep: bool) -> dict[str, Dictionary.Config]:
        """Settings of every dictionary by arm name; with `sweep`, one for each value of its dial and each seed.

        `parts` are the widths of the sites, in their order.
        """
        arms: dict[str, Dictionary.Config] = {}
        for name, table in self.dictionaries.items():
            base = _settings(name, table, parts)
            if not sweep:
                arms[name] = base
                continue
            dials = self.sweep.get(name) or (base.dial_value(),)
            for dial, seed in product(dials, self.seeds):
                suffix = f"-s{seed}" if len(self.seeds) > 1 else ""
                arm = f"{name}-{dial:g}{suffix}"
                if arm in arms:
                    raise ConfigError(
                        f"two arms of the sweep would be called {arm}",
                        expected="dials that differ in their first six digits, and seeds that differ",
                        do="Name each once.",
                    )
                arms[arm] = base.revised({base.dial: _like(base.dial_value(), dial, name), "seed": seed})
        return arms


def _like(now: float, dial: float, name: str) -> float:
    """The dial as the whole number that the variant takes, if it takes one."""
    if not isinstance(now, int):
        return dial
    if int(dial) != dial:
        raise ConfigError(f"[sweep] has {dial:g} for {name}", expected="whole numbers there", do="Correct it.")
    return int(dial)


def _settings(name: str, table: Mapping[str, Any], parts: tuple[int, ...]) -> Dictionary.Config:
    settings = dict(table)
    variant = Dictionary.registry.named(settings.pop("variant"))
    for key, value in variant.Config.for_parts(parts).items():
        if settings.setdefault(key, value) != value:
            raise ConfigError(
                f"[dictionaries.{name}] has {key} = {shown(settings[key])}",
                expected=f"{value}, which follows from the width of the activations at this site",
                do=f"Leave {key} out.",
            )
    return config.parse(variant.Config, settings, where=f"[dictionaries.{name}]")
