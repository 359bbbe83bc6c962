"""A causal language model by name: every weight checked to be there, frozen, with its tokenizer and its provenance.

transformers fills weights that a checkpoint lacks with random numbers and only logs it; here that is an error. Only
safetensors are read, no code of a repository is run, and a model of the hub is pinned to one commit before loading.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging import CRITICAL
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import nn

from assay.beside import JOINT, Beside
from assay.errors import ConfigError, CorruptData, MissingMaterial, UnknownName, ran_out_of_memory, shown
from assay.folders import expanded, is_file, is_folder
from assay.materials import cache, catalogue
from assay.materials.catalogue import Material, named, nearest, of_kind
from assay.materials.fetch import fetch, silent

SAMPLES, SAMPLE_BYTES = 16, 1 << 16
LONGEST_LINE = 500
"""Letters of a foreign error that are repeated."""


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model in eval mode whose parameters take no gradient."""

    model: nn.Module
    tokenizer: Any
    """A transformers tokenizer (`PreTrainedTokenizerBase`)."""
    name: str
    """Catalogue name, hub id, or the last part of the folder's path."""
    revision: str
    """Material: version and hash. Hub: commit. Folder: digest of its files (weights are sampled)."""
    dtype: torch.dtype

    @property
    def identity(self) -> str:
        """Name, revision and dtype in one word: activations with equal identities came from the same weights."""
        return f"{self.name}@{self.revision}:{str(self.dtype).removeprefix('torch.')}"


def load_language_model(
    name: str, *, dtype: torch.dtype = torch.float32, report: Callable[[str], None] = silent
) -> LanguageModel:
    """The model called `name`, on the CPU: a name of the catalogue, a local folder of transformers, or a hub id.

    The order is as listed; "./smollm2" is the folder. A catalogue model is downloaded and converted the first time;
    `report` gets a line before each long step. "a + b" is both side by side (`Beside`), if they read the same tokens.
    Raises UnknownName (with the nearest name), MissingMaterial (nothing there, no network, no safetensors), CorruptData
    (weights damaged or not all there), ConfigError (not a causal LM, models of unlike tokens), OutOfDisk.
    """
    require_transformers()
    if len(names := names_in(name)) > 1:
        return _beside([load_language_model(each, dtype=dtype, report=report) for each in names])
    if name in catalogue.CATALOGUE:
        material = named(name, "model")
        folder = _converted(material, report)
        report(f"loading {name}")
        revision = f"{material.version}+{material.wheel_sha256[:12]}.{cache.CONVERSION}"
        return LanguageModel(*_load(name, str(folder), dtype, local_files_only=True), name, revision, dtype)
    if is_folder(expanded(name)):
        folder = expanded(name).resolve()
        if not is_file(folder / "config.json"):
            raise MissingMaterial(f"{shown(name)} has no config.json", expected=_known(), do="Check the path.")
        _refuse_pipes(folder)
        revision = _digest(folder)
        return LanguageModel(*_load(name, str(folder), dtype, local_files_only=True), folder.name, revision, dtype)
    commit = _commit(name)
    return LanguageModel(*_load(name, name, dtype, revision=commit), name, commit, dtype)


def names_in(name: str) -> list[str]:
    """The models that a name stands for: several where it joins them with " + "."""
    return [name] if is_folder(expanded(name)) else [each.strip() for each in name.split(JOINT)]


def _beside(models: Sequence[LanguageModel]) -> LanguageModel:
    names, first = [each.name for each in models], models[0]
    for each in models[1:]:
        if _rules(each.tokenizer) != _rules(first.tokenizer):
            raise ConfigError(
                f"{shown(each.name)} has another tokenizer than {shown(first.name)}",
                expected="models that read the same tokens, as one and its fine-tuning do",
                do="Name models of one tokenizer.",
            )
    revision = JOINT.join(each.revision for each in models)
    joined = Beside([each.model for each in models]).eval()
    return LanguageModel(joined, first.tokenizer, JOINT.join(names), revision, first.dtype)


def _rules(tokenizer: Any) -> Any:
    """All that decides about its tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = type(tokenizer).__name__ if backend is None else backend.to_str()
    return rules, tokenizer.get_vocab(), tokenizer.all_special_ids, tokenizer.bos_token_id, tokenizer.eos_token_id


def _converted(material: Material, report: Callable[[str], None]) -> Path:
    """The folder for transformers, made from the material's GGUF file the first time."""
    from assay.materials import convert

    def fill(folder: Path) -> None:
        members = fetch(material.name, report=report)
        report(f"converting {material.name} to float32 (once)")
        with quietly():
            convert.convert_llama(members / material.members[0].file_name, folder)

    return cache.kept(material, cache.CONVERTED, fill, needs=8 * material.unpacked_size)


def _load(name: str, place: str, dtype: torch.dtype, **options: Any) -> tuple[nn.Module, Any]:
    """Model and tokenizer from `place`, complete, frozen and in eval mode."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options |= {"trust_remote_code": False}
    try:
        with quietly():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                place, dtype=dtype, use_safetensors=True, output_loading_info=True, **options
            )
            tokenizer = AutoTokenizer.from_pretrained(place, **options)
    except Exception as error:  # whatever its files made transformers or tokenizers raise
        if ran_out_of_memory(error):
            raise
        if isinstance(error, SafetensorError) or (isinstance(error, RuntimeError) and "mismatch" in str(error)):
            raise _damaged(name, _first_line(error)) from None
        if isinstance(error, OSError):
            raise _missing(name, error) from None
        raise _not_a_causal_lm(name, error) from error
    model, loading = loaded
    if absent := sorted(loading["missing_keys"]):
        raise _damaged(name, f"{len(absent)} weights are not in its files, such as {absent[0]}")
    return model.requires_grad_(False), tokenizer  # from_pretrained leaves it in eval mode


def _commit(name: str) -> str:
    """The commit that the hub id `name` stands for now; everything is then read at that commit."""
    from transformers.utils.hub import cached_file

    if near := nearest(name):
        raise UnknownName(f"no model is called {shown(name)}", expected=_known(), do=f"Did you mean {near!r}?")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or is_file(Path(name)):
        raise MissingMaterial(f"there is no model folder {shown(name)}", expected=_known(), do="Check the path.")
    try:
        with quietly():
            config = cached_file(name, "config.json")
    except (OSError, ValueError) as error:
        raise _missing(name, error) from None
    return Path(str(config)).parent.name  # the hub's cache is laid out as snapshots/<commit>/config.json


def _refuse_pipes(folder: Path) -> None:
    """Only files and folders: transformers would wait for a pipe, and read a device without end. Raises ConfigError."""
    for path in folder.iterdir():
        if not is_file(path) and not is_folder(path):
            raise ConfigError(f"{path} is neither a file nor a folder", expected=_known(), do="Take it out.")


def _digest(folder: Path) -> str:
    """xxh3-64 (hex) of name, size and 16 samples of 64 KiB of every .json and .safetensors file."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors") and is_file(path))
    digest = xxhash.xxh3_64()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with open(path, "rb") as file:
            for sample in range(SAMPLES):
                file.seek(max(0, size - SAMPLE_BYTES) * sample // (SAMPLES - 1))
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


@contextmanager
def quietly() -> Iterator[None]:
    """No warnings, log lines or progress bars of transformers and the hub's client inside; as before afterwards."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    before, hub_before, bars = logging.get_verbosity(), hub_logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(CRITICAL)
    hub_logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
        hub_logging.set_verbosity(hub_before)
        if bars:
            logging.enable_progress_bar()


def require_transformers() -> None:
    """Raises MissingMaterial, with what to install, where the extra packages are not there."""
    try:
        import gguf  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingMaterial(
            f"language models need {error.name}, which is not installed",
            expected="the extra packages for models",
            do="Run `pip install 'assay[models]'`.",
        ) from None


def _known() -> str:
    models = ", ".join(material.name for material in of_kind("model"))
    return f"{models}, a folder with config.json and *.safetensors, or a Hugging Face hub id"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:LONGEST_LINE]


def _missing(name: str, error: Exception) -> MissingMaterial:
    return MissingMaterial(
        f"the model {shown(name)} cannot be had: {_first_line(error)}",
        expected=_known(),
        do="Check the name and the network; weights that are pickled (.bin, .pt) must be saved as safetensors first.",
    )


def _damaged(name: str, what: str) -> CorruptData:
    return CorruptData(
        f"the weights of {shown(name)} are damaged or not those of its config.json: {what}",
        expected="every weight that the architecture has, in safetensors",
        do="Download or save the model again.",
    )


def _not_a_causal_lm(name: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"{shown(name)} cannot be loaded: {_first_line(error)}",
        expected="a causal language model that transformers has code for (code of the repository is never run)",
        do="Check the model, or load it yourself and hand its nn.Module to assay.",
    )
