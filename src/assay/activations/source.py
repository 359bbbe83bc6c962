"""What a model is shown, one context after another: text cut into contexts of equal length, or tensors as they are.

Text is held out by document, never by token, so that nothing a dictionary is measured on was seen in part. Special tokens and the
first position of a context (whose activation is an attention sink) pass through the model but are not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from pathlib import PurePath
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
import xxhash
from jaxtyping import Bool, Int
from torch import Tensor

from assay.activations.order import key, permutation
from assay.errors import ConfigError, ShapeMismatch, StoreError
from assay.materials.texts import fingerprint

Part = Literal["all", "train", "held_out"]
NOWHERE = -1
"""Document and position of what belongs to no document: separators and BOS."""
TOKENISED_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Inputs:
    """Some contexts, ready for a model. P is the number of positions (rows of activations) of a context."""

    arguments: dict[str, Tensor]
    """Keyword arguments of `model.forward`, each with B contexts along its first dimension."""
    keep: Bool[Tensor, "B P"]
    """Positions whose activations are harvested."""
    origin: Int[Tensor, "B P 2"]
    """(document, position in it) of every position; (-1, -1) where there is none."""

    def only(self, contexts: slice | Bool[Tensor, " B"]) -> Inputs:
        """Some of the contexts."""
        arguments = {name: value[contexts] for name, value in self.arguments.items()}
        return Inputs(arguments, self.keep[contexts], self.origin[contexts])


@runtime_checkable
class Source(Protocol):
    """Contexts in a fixed order, all of one shape."""

    @property
    def identity(self) -> dict[str, Any]:
        """What exactly it is, ready for JSON: equal identities, equal contexts."""
        ...

    def __len__(self) -> int:
        """Contexts."""
        ...

    def inputs(self, start: int, stop: int) -> Inputs:
        """Contexts start..stop-1."""
        ...


def is_held_out(document: int, fraction: float, seed: int) -> bool:
    """Whether a document is held out: decided by a key of (seed, document) and by nothing else."""
    return key("held out", seed, document) < fraction * 2**63


class TextSource:
    """Documents as contexts of exactly `context` tokens.

    The documents of a part are joined in an order keyed by `seed`, each followed by the tokenizer's end-of-text token, and cut; the
    short rest is dropped. Every context begins with BOS if and only if the tokenizer itself begins text with it. The parts "train" and
    "held_out" of equal (`held_out`, `seed`) share no document. Documents keep their index in the full list whatever the part.
    Tokens are made when first asked for. Raises ConfigError; StoreError when the part is empty or, on use, shorter than one context.
    """

    def __init__(
        self,
        documents: Sequence[str],
        tokenizer: Any,
        *,
        context: int = 128,
        part: Part = "all",
        held_out: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.documents, self.tokenizer = documents, tokenizer
        self.context, self.part, self.held_out, self.seed = context, part, held_out, seed
        self._check()
        self._bos = _bos(tokenizer)
        self._order = [
            document for document in permutation(len(documents), "documents", seed).tolist() if self._takes(document)
        ]
        if not self._order:
            raise StoreError(
                f"none of {len(documents):,} documents is in the part {part!r} (held_out={held_out}, seed={seed})",
                expected="at least one document",
                do="Give more documents, or another held_out.",
            )

    @property
    def identity(self) -> dict[str, Any]:
        """Fingerprints of the documents and of the vocabulary, and every setting."""
        return self._identity

    @cached_property
    def _identity(self) -> dict[str, Any]:
        return {
            "kind": "text",
            "documents": {"count": len(self.documents), "xxh3_128": fingerprint(self.documents)},
            "tokenizer": _tokenizer_identity(self.tokenizer),
            "context": self.context,
            "part": self.part,
            "held_out": self.held_out,
            "seed": self.seed,
        }

    def __len__(self) -> int:
        return len(self._stream.tokens) // self._body

    def inputs(self, start: int, stop: int) -> Inputs:
        """Contexts start..stop-1 as `input_ids` [B S]."""
        places = torch.arange(start * self._body, min(stop, len(self)) * self._body).view(-1, self._body)
        tokens, origin = self._stream.tokens[places].long(), self._stream.origin(places)
        if self._bos is not None:
            tokens = torch.nn.functional.pad(tokens, (1, 0), value=self._bos)
            origin = torch.nn.functional.pad(origin, (0, 0, 1, 0), value=NOWHERE)
        keep = ~torch.isin(tokens, torch.tensor(self.tokenizer.all_special_ids))
        keep[:, 0] = False
        return Inputs({"input_ids": tokens}, keep, origin)

    def document_tokens(self, document: int) -> Int[Tensor, " T"]:
        """Tokens of a document of the full list, without BOS or separator. Raises StoreError."""
        return torch.tensor(self._encode([self._named(document)])["input_ids"][0], dtype=torch.int64)

    def text(self, document: int, start: int, stop: int) -> list[str]:
        """The text of tokens start..stop-1 of a document, clipped to its bounds.

        Each token has the text from the end of the token before it to its own end, so the pieces of all tokens join to the document
        (a character made of several tokens belongs to the first; what follows the last token is left out).
        Raises StoreError when there is no such document.
        """
        whole, start = self._named(document), max(start, 0)
        if not self.tokenizer.is_fast:
            return [self.token_text(token) for token in self.document_tokens(document)[start : max(stop, 0)].tolist()]
        spans = self._encode([whole], return_offsets_mapping=True)["offset_mapping"][0]
        ends = [0, *accumulate((end for _, end in spans), max)]
        return [whole[ends[token] : ends[token + 1]] for token in range(start, min(stop, len(spans)))]

    def token_text(self, token: int) -> str:
        """The text of a token that stands alone."""
        return self.tokenizer.decode([token])

    @property
    def _body(self) -> int:
        """Tokens of a context that come from the stream."""
        return self.context - (self._bos is not None)

    @cached_property
    def _stream(self) -> _Stream:
        stream = _Stream.of(self._order, self._token_lists(), self.tokenizer.eos_token_id)
        if len(stream.tokens) < self._body:
            raise StoreError(
                f"the {len(self._order):,} documents of the part {self.part!r} hold {len(stream.tokens):,} tokens",
                expected=f"at least one context of {self.context:,}",
                do="Give more text, or a smaller context.",
            )
        return stream

    def _token_lists(self) -> Iterator[list[int]]:
        for start in range(0, len(self._order), TOKENISED_AT_ONCE):
            some = [self.documents[document] for document in self._order[start : start + TOKENISED_AT_ONCE]]
            yield from self._encode(some)["input_ids"]

    def _encode(self, documents: list[Any], **options: Any) -> Any:
        return self.tokenizer(
            documents, add_special_tokens=False, return_attention_mask=False, verbose=False, **options
        )

    def _takes(self, document: int) -> bool:
        return self.part == "all" or is_held_out(document, self.held_out, self.seed) == (self.part == "held_out")

    def _named(self, document: int) -> str:
        if not 0 <= document < len(self.documents):
            raise StoreError(
                f"there is no document {document}",
                expected=f"0 to {len(self.documents) - 1:,}",
                do="Give the documents that the store was harvested from.",
            )
        return self.documents[document]

    def _check(self) -> None:
        if self.part not in ("all", "train", "held_out"):
            raise ConfigError(
                f"part is {self.part!r}", expected='"all", "train" or "held_out"', do="Choose one of them."
            )
        if self.context < 2:
            raise ConfigError(
                f"context is {self.context}", expected="2 or more", do="The first position is never kept."
            )
        if not 0 <= self.held_out < 1:
            raise ConfigError(
                f"held_out is {self.held_out}", expected="a fraction in [0, 1)", do="0.1 holds out a tenth."
            )
        if self.tokenizer.eos_token_id is None:
            raise ConfigError(
                f"{type(self.tokenizer).__name__} has no eos_token",
                expected="a token that ends a document",
                do='Set one, for instance tokenizer.eos_token = "<|endoftext|>".',
            )


@dataclass(frozen=True, eq=False)
class _Stream:
    """Documents one after another, each followed by a separator; `ends[i]` is one past the separator of `documents[i]`."""

    tokens: Int[Tensor, " T"]
    documents: Int[Tensor, " M"]
    ends: Int[Tensor, " M"]

    @classmethod
    def of(cls, documents: list[int], token_lists: Iterator[list[int]], separator: int) -> _Stream:
        lengths: list[int] = []

        def counted() -> Iterator[list[int]]:
            for tokens in token_lists:
                lengths.append(len(tokens) + 1)
                yield [*tokens, separator]

        tokens = np.fromiter(chain.from_iterable(counted()), dtype=np.int32)
        return cls(torch.from_numpy(tokens), torch.tensor(documents), torch.tensor(lengths).cumsum(0))

    def origin(self, places: Int[Tensor, "B S"]) -> Int[Tensor, "B S 2"]:
        """(document, position) of tokens of the stream; (-1, -1) for separators."""
        index = torch.searchsorted(self.ends, places, right=True)
        begins = torch.cat([torch.zeros(1, dtype=torch.int64), self.ends[:-1]])
        origin = torch.stack([self.documents[index], places - begins[index]], dim=-1)
        return origin.masked_fill((places == self.ends[index] - 1)[..., None], NOWHERE).int()


def _bos(tokenizer: Any) -> int | None:
    added = tokenizer("")["input_ids"]
    return tokenizer.bos_token_id if added and added[0] == tokenizer.bos_token_id else None


def _tokenizer_identity(tokenizer: Any) -> dict[str, Any]:
    """Its name without the folders of this machine, its class, and a fingerprint of its vocabulary."""
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: (entry[1], entry[0]))
    name = str(tokenizer.name_or_path)
    return {
        "name": PurePath(name).name if PurePath(name).is_absolute() else name,
        "class": type(tokenizer).__name__,
        "vocabulary": {
            "count": len(vocabulary),
            "xxh3_128": fingerprint([f"{number} {token}" for token, number in vocabulary]),
        },
    }


class TensorSource:
    """Rows of tensors, handed to the model by keyword: `TensorSource(x=images)` calls `model(x=images[a:b])`.

    A row is a context and gives `positions` rows of activations: 1 where the site is [B D], H * W where it is [B H W D]. The origin of
    an activation is (row, position). Raises ConfigError, ShapeMismatch.
    """

    def __init__(self, *, positions: int = 1, **arguments: Tensor) -> None:
        if positions < 1 or not arguments or not all(value.ndim for value in arguments.values()):
            raise ConfigError(
                f"{len(arguments)} arguments and {positions} positions",
                expected="one or more tensors with rows, and at least one position a row",
                do="Name each tensor like the argument of forward: TensorSource(x=images).",
            )
        if len({len(value) for value in arguments.values()}) > 1:
            sizes = ", ".join(f"{name}: {len(value)}" for name, value in arguments.items())
            raise ShapeMismatch(
                f"the tensors have different numbers of rows ({sizes})", expected="as many each", do="Align them."
            )
        self.arguments, self.positions = arguments, positions

    @property
    def identity(self) -> dict[str, Any]:
        """Shape, dtype and xxh3-128 of every tensor."""
        return self._identity

    @cached_property
    def _identity(self) -> dict[str, Any]:
        return {
            "kind": "tensors",
            "arguments": {name: tensor_identity(value) for name, value in self.arguments.items()},
            "positions": self.positions,
        }

    def __len__(self) -> int:
        return len(next(iter(self.arguments.values())))

    def inputs(self, start: int, stop: int) -> Inputs:
        """Rows start..stop-1 of every tensor."""
        rows = torch.arange(start, min(stop, len(self)), dtype=torch.int32)
        origin = torch.cartesian_prod(rows, torch.arange(self.positions, dtype=torch.int32)).view(-1, self.positions, 2)
        return Inputs(
            {name: value[start:stop] for name, value in self.arguments.items()},
            torch.ones(len(rows), self.positions, dtype=torch.bool),
            origin,
        )


def tensor_identity(tensor: Tensor) -> dict[str, Any]:
    """Shape, dtype and xxh3-128 of a tensor's bytes."""
    data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "xxh3_128": xxhash.xxh3_128_hexdigest(data),
    }
