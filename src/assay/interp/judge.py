"""Who says, from an explanation alone, where a latent fires. A judge sees text, and perhaps highlights; never a value of the latent.

    judge.detect(explanation, shown)      probability that the latent fires in each window
    judge.fuzz(explanation, shown)        probability that the highlighted tokens are the ones it fires on
    judge.simulate(explanation, shown)    a value for each token
    judge.odd(shown)                      how far each window stands out from the others, without an explanation
    judge.surprisal(explanation, shown)   how much less each window surprises who has read the explanation

`RuleJudge` runs explanations that are rules; it is never wrong about what the rule says. Others read: `EmbeddingJudge` here,
`language_judge.LanguageJudge` with a causal language model at hand, `endpoint_judge.EndpointJudge` with one behind a web address.

Judges that read answer in probabilities without a threshold that means anything: compare them by AUC (`scorers.similarity`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from assay.errors import ConfigError
from assay.interp.rules import parse
from assay.interp.windows import Window


@dataclass(frozen=True)
class Shown:
    """What a judge sees of a window."""

    pieces: tuple[str, ...]
    start: int
    """Position of the first token in its document."""
    highlighted: tuple[bool, ...] = ()
    """Tokens that are claimed to be the ones; empty where nothing is claimed."""

    @property
    def text(self) -> str:
        """The window as it reads."""
        return "".join(self.pieces)

    @property
    def marked(self) -> str:
        """The window with << >> around each run of highlighted tokens."""
        text, inside = "", False
        for piece, marked in zip(self.pieces, self.highlighted or (False,) * len(self.pieces), strict=True):
            text += "<<" * (marked and not inside) + ">>" * (inside and not marked) + piece
            inside = marked
        return text + ">>" * inside


def shown(windows: Sequence[Window]) -> list[Shown]:
    """Windows without what the latent does in them."""
    return [Shown(window.pieces, window.start) for window in windows]


class Judge:
    """Answers what it can; asked for what it cannot, it raises ConfigError."""

    def detect(self, explanation: str, windows: Sequence[Shown]) -> Float[np.ndarray, " n"]:
        """Probability that the latent fires in each window."""
        self._cannot("detect")

    def fuzz(self, explanation: str, windows: Sequence[Shown]) -> Float[np.ndarray, " n"]:
        """Probability that the highlighted tokens of each window are those that the latent fires on."""
        self._cannot("fuzz")

    def simulate(self, explanation: str, windows: Sequence[Shown]) -> list[Float[np.ndarray, " T"]]:
        """The latent's value at each token of each window, up to a factor."""
        self._cannot("simulate")

    def odd(self, windows: Sequence[Shown]) -> Float[np.ndarray, " n"]:
        """How little each window resembles the others."""
        self._cannot("odd")

    def surprisal(self, explanation: str, windows: Sequence[Shown]) -> Float[np.ndarray, " n"]:
        """Nats a token by which the explanation makes each window likelier; below 0 where it makes it less likely."""
        self._cannot("surprisal")

    def _cannot(self, what: str) -> NoReturn:
        every = ("detect", "fuzz", "simulate", "odd", "surprisal")
        able = [name for name in every if getattr(type(self), name) is not getattr(Judge, name)]
        raise ConfigError(
            f"{type(self).__name__} does not {what}", expected=f"one of {', '.join(able)}", do="Ask another judge."
        )


class RuleJudge(Judge):
    """Runs explanations that `rules.parse` reads; raises ConfigError for others. An empty explanation fires nowhere.

    detect      1 where the rule fires on any token
    fuzz        2 |P and H| / (|P| + |H|), F1 of the tokens P that the rule fires on with the highlighted ones H
    simulate    1 on each token that the rule fires on
    """

    def detect(self, explanation: str, windows: Sequence[Shown]) -> Float[np.ndarray, " n"]:
        return np.array([float(fires.any()) for fires in self.simulate(explanation, windows)])

    def fuzz(self, explanation: str, windows: Sequence[Shown]) -> Float[np.ndarray, " n"]:
        predicted = self.simulate(explanation, windows)
        claimed = [np.array(window.highlighted, dtype=float) for window in windows]
        return np.array([2 * (p @ h) / max(p.sum() + h.sum(), 1) for p, h in zip(predicted, claimed, strict=True)])

    def simulate(self, explanation: str, windows: Sequence[Shown]) -> list[Float[np.ndarray, " T"]]:
        if not explanation:
            return [np.zeros(len(window.pieces)) for window in windows]
        rule = parse(explanation)
        return [np.array(rule.fires(window.pieces, window.start), dtype=float) for window in windows]


@runtime_checkable
class Embeds(Protocol):
    """What an embedding judge needs of an encoder (`materials.encoder.Encoder`)."""

    def embed(self, texts: Sequence[str]) -> Float[Tensor, "N E"]:
        """Unit vectors of texts."""
        ...


class EmbeddingJudge(Judge):
    """Compares sentence embeddings e: detect (1 + cos(e(explanation), e(window))) / 2, odd 1 - mean cos(e(window), e(other window)).

    It knows topics, not tokens. An empty explanation says 0.5 of every window.
    """

    def __init__(self, encoder: Embeds) -> None:
        self.encoder = encoder

    def detect(self, explanation: str, windows: Sequence[Shown]) -> Float[np.ndarray, " n"]:
        if not explanation:
            return np.full(len(windows), 0.5)
        vectors = self.encoder.embed([explanation, *(window.text for window in windows)]).double()
        return ((1 + vectors[1:] @ vectors[0]) / 2).numpy()

    def odd(self, windows: Sequence[Shown]) -> Float[np.ndarray, " n"]:
        vectors = self.encoder.embed([window.text for window in windows]).double()
        return 1 - ((vectors @ vectors.sum(0) - 1) / max(len(windows) - 1, 1)).numpy()
