"""Activations and codes of whole texts: the mean over a text's tokens, made from a few texts at a time and kept sparse.

Special tokens and the first position, where activations are an attention sink, are left out, as everywhere. The model reads texts of
about equal length together; what pads the shorter ones stands to their right, where a causal model does not look.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from assay.activations.produce import evaluating, rows_kept
from assay.activations.source import Inputs
from assay.config import Config
from assay.dictionary import Dictionary
from assay.materials.labelled import Labelled, load_labelled
from assay.materials.language_model import LanguageModel
from assay.sites import Site, capture

TEXTS_AT_ONCE = 32
TYPICAL = {"sentiment": 28, "newsgroups": 48, "jobs": 26}
"""Tokens of a text of each set, of at most 48."""


@dataclass(frozen=True, eq=False)
class TextRows:
    """Raw activations of the kept tokens of T texts, one text after another."""

    rows: Float[Tensor, "N D"]
    lengths: Int[Tensor, " T"]
    """Rows of each text."""

    def pooled(self) -> Float[Tensor, "T D"]:
        """Mean of each text's rows, in float64; zeros for a text without any."""
        sums = torch.zeros(len(self.lengths), self.rows.shape[1], dtype=torch.float64)
        for text, part in enumerate(self.rows.split(self.lengths.tolist())):
            sums[text] = part.double().sum(0)
        return sums / self.lengths.clamp_min(1)[:, None]


@dataclass(frozen=True, eq=False)
class PooledCodes:
    """Mean codes of T texts: entries that are not zero, text by text."""

    texts: Int[Tensor, " N"]
    latents: Int[Tensor, " N"]
    values: Float[Tensor, " N"]
    count: int
    """T."""
    width: int
    """L."""

    @classmethod
    def of(cls, table: Float[Tensor, "T L"]) -> PooledCodes:
        """Those of a full table, such as raw channels beside which codes are held."""
        texts, latents = table.nonzero(as_tuple=True)
        return cls(texts, latents, table[texts, latents].double(), *table.shape)

    def differences(self, y: Bool[Tensor, "T C"], among: Bool[Tensor, " T"]) -> Float[Tensor, "C L"]:
        """E[f | class] - E[f | not the class] over some of the texts, for each class."""
        share = (y & among[:, None]).double(), (~y & among[:, None]).double()
        weight = share[0] / share[0].sum(0) - share[1] / share[1].sum(0)
        found = torch.zeros(y.shape[1], self.width, dtype=torch.float64)
        for row, of_class in zip(found, weight.T, strict=True):
            row.index_add_(0, self.latents, self.values * of_class[self.texts])
        return found

    def columns(self, latents: Int[Tensor, " K"]) -> Float[Tensor, "T K"]:
        """The values of some latents, each named once."""
        place = torch.full((self.width,), -1).index_put((latents,), torch.arange(len(latents)))[self.latents]
        here = place >= 0
        table = torch.zeros(self.count, len(latents), dtype=torch.float64)
        return table.index_put((self.texts[here], place[here]), self.values[here])


@torch.no_grad()
def pool(dictionary: Dictionary, texts: TextRows) -> PooledCodes:
    """Mean codes of texts, a few texts encoded at a time. Raises ShapeMismatch."""
    found, device = [], dictionary.scale.device
    lengths = texts.lengths.split(TEXTS_AT_ONCE)
    parts = texts.rows.split([int(some.sum()) for some in lengths])
    for number, (some, rows) in enumerate(zip(lengths, parts, strict=True)):
        at, latents, values = (each.cpu() for each in dictionary.encode(rows.to(device)).entries())
        table = torch.zeros(len(some), dictionary.config.width, dtype=torch.float64)
        table.index_put_((torch.repeat_interleave(some)[at], latents), values.double(), accumulate=True)
        part = PooledCodes.of(table / some.clamp_min(1)[:, None])
        found.append((part.texts + number * TEXTS_AT_ONCE, part.latents, part.values))
    at, latents, values = (torch.cat(each) for each in zip(*found, strict=True))
    return PooledCodes(at, latents, values, len(texts.lengths), dictionary.config.width)


def raw_atoms(dictionary: Dictionary) -> Float[Tensor, "L D"]:
    """Atoms in the units of what is reconstructed, so that sum_l f_l a_l is what codes f add to it."""
    scale = dictionary.target_scale if dictionary.config.maps_to else dictionary.scale
    return (dictionary.atoms.detach() * scale).cpu().double()


def read_texts(language_model: LanguageModel, site: Site, texts: Sequence[str], most: int) -> TextRows:
    """The activations of the first `most` tokens of each text. Raises what `sites.capture` raises."""
    special = set(language_model.tokenizer.all_special_ids)
    tokens = [ids[:most] for ids in _tokens(language_model, texts)]
    keep = [[place > 0 and token not in special for place, token in enumerate(ids)] for ids in tokens]
    return _read(language_model, site, tokens, keep)


def read_last(language_model: LanguageModel, site: Site, texts: Sequence[str]) -> TextRows:
    """The activation of the last token of each text: one row a text. Raises what `sites.capture` raises."""
    tokens = _tokens(language_model, texts)
    return _read(language_model, site, tokens, [[*[False] * (len(ids) - 1), True] for ids in tokens])


def _tokens(language_model: LanguageModel, texts: Sequence[str]) -> list[list[int]]:
    return language_model.tokenizer(list(texts), return_attention_mask=False, verbose=False)["input_ids"]


@torch.no_grad()
def _read(
    language_model: LanguageModel, site: Site, tokens: Sequence[Sequence[int]], keep: Sequence[Sequence[bool]]
) -> TextRows:
    model = language_model.model
    lengths = torch.tensor([sum(of_text) for of_text in keep])
    starts = lengths.cumsum(0) - lengths
    rows: Tensor | None = None
    order = sorted(range(len(tokens)), key=lambda text: (-len(tokens[text]), text))
    device = next(chain(model.parameters(), model.buffers())).device
    with evaluating(model):
        for start in range(0, len(order), TEXTS_AT_ONCE):
            some = order[start : start + TEXTS_AT_ONCE]
            ids = _padded([tokens[text] for text in some], 0)
            here = _padded([keep[text] for text in some], False)
            if not here.any():
                continue
            activations = capture(model, [site], input_ids=ids.to(device))[site]
            found = rows_kept(site, activations, Inputs({}, here, _origin(some, ids.shape[1]))).cpu()
            if rows is None:
                rows = torch.empty(int(lengths.sum()), found.shape[1])
            for text, part in zip(some, found.split(lengths[some].tolist()), strict=True):
                rows[starts[text] : starts[text] + len(part)] = part
    return TextRows(torch.empty(0, 0) if rows is None else rows, lengths)


class TextSettings(Config):
    """How much labelled text a task reads."""

    train: int = Field(default=1200, ge=100)
    """Texts of each set that probes are fitted to."""
    test: int = Field(default=400, ge=50)
    """Texts of each set that they are tried on."""
    tokens: int = Field(default=48, ge=4)
    """Most tokens of a text; what comes after them is left out."""

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Texts to fit to, texts to try on, tokens: what `read_labelled` is given."""
        return self.train, self.test, self.tokens

    def to_read(
        self, names: Iterable[str], language_model: LanguageModel, site: Site, kept: Container[Any]
    ) -> dict[Any, int]:
        """Tokens of each labelled set that is not in `kept` yet, by its key."""
        texts = self.train + self.test
        keys = {key_of(name, *self.sizes, language_model, site): TYPICAL[name] for name in names}
        return {key: texts * min(typical, self.tokens) for key, typical in keys.items() if key not in kept}


@dataclass(frozen=True, eq=False)
class Read:
    """A labelled set as the model reads it."""

    labelled: Labelled
    rows: TextRows
    pooled: Float[Tensor, "T D"]
    test: Bool[Tensor, " T"]

    def members(self, attribute: str) -> tuple[list[str], Bool[Tensor, "T C"]]:
        """The classes of an attribute, and who is of each; of two classes only the second, since either says the other."""
        names = self.labelled.names(attribute)
        y = torch.tensor(self.labelled.numbers(attribute))[:, None] == torch.arange(len(names))
        return (names[1:], y[:, 1:]) if len(names) == 2 else (names, y)


def key_of(name: str, train: int, test: int, most: int, language_model: LanguageModel, site: Site) -> tuple[Any, ...]:
    """All that a `Read` depends on."""
    return "read", name, train, test, most, language_model.identity, str(site)


def read_labelled(
    name: str, train: int, test: int, most: int, language_model: LanguageModel, site: Site, kept: dict[Any, Any]
) -> Read:
    """A labelled set, so many texts of it, as the model reads their first `most` tokens: from `kept`, or read now and kept there."""
    key = key_of(name, train, test, most, language_model, site)
    if key not in kept:
        labelled = load_labelled(name).balanced(train, test)
        rows = read_texts(language_model, site, labelled.texts, most)
        kept[key] = Read(labelled, rows, rows.pooled(), torch.tensor(labelled.is_test))
    return kept[key]


def _origin(texts: Sequence[int], positions: int) -> Tensor:
    """(text, position) of every place."""
    return torch.cartesian_prod(torch.tensor(texts), torch.arange(positions)).view(-1, positions, 2)


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])
