"""A causal language model reads: what it would answer next, and how much an explanation tells it of a text.

The model is asked in plain text, without the chat format of its makers, so that any causal model will do. A small one answers
Yes or No by habit more than by reading: its probabilities have no threshold, so compare them by AUC (`scorers.similarity`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from assay.activations.produce import evaluating
from assay.analysis.variants import forward
from assay.errors import ConfigError
from assay.interp.judge import Judge, Shown

TOKENS_AT_ONCE = 1024
"""Tokens of a forward, padding counted: their logits take 200 MB at 49,152 words."""

DETECT = """A pattern in text is described like this: {explanation}

Text: {text}

Question: Does the text contain the pattern? Answer Yes or No.
Answer:"""
FUZZ = """A pattern in text is described like this: {explanation}

Text, with << and >> around some parts: {text}

Question: Are the parts between << and >> the pattern? Answer Yes or No.
Answer:"""
TOLD, UNTOLD = "A pattern in text is described like this: {explanation}\n\nA text with the pattern:\n", "A text:\n"


class LanguageJudge(Judge):
    """Asks a causal language model with next-token logits l, after a prompt of explanation and window.

    detect, fuzz    exp(l_Yes) / (exp(l_Yes) + exp(l_No)); fuzz shows the highlights as << >>
    surprisal       mean_t -log p(x_t | prompt without explanation, x_<t) - mean_t -log p(x_t | prompt with it, x_<t), window tokens x_t

    An empty explanation says 0.5 of every window, and makes none likelier. Prompts are padded on the right and masked: what else is in
    the batch changes an answer by rounding alone.
    """

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        """A causal model of transformers, or one called alike, and its tokenizer."""
        self.model, self.tokenizer = model, tokenizer

    def detect(self, explanation: str, windows: Sequence[Shown]) -> Float[np.ndarray, " n"]:
        return self._yes(DETECT, explanation, [window.text for window in windows])

    def fuzz(self, explanation: str, windows: Sequence[Shown]) -> Float[np.ndarray, " n"]:
        return self._yes(FUZZ, explanation, [window.marked for window in windows])

    def surprisal(self, explanation: str, windows: Sequence[Shown]) -> Float[np.ndarray, " n"]:
        if not explanation:
            return np.zeros(len(windows))
        texts = [self._tokens(window.text, add_special_tokens=False) for window in windows]
        return self._loss(UNTOLD, texts) - self._loss(TOLD.format(explanation=explanation), texts)

    def _yes(self, prompt: str, explanation: str, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Probability of Yes among Yes and No."""
        if not explanation:
            return np.full(len(texts), 0.5)
        asked = [self._asked(prompt.format(explanation=explanation, text=text)) for text in texts]
        probability = np.empty(len(texts))
        for place, logits in self._read([tokens for tokens, _, _ in asked]):
            _, yes, no = asked[place]
            probability[place] = torch.sigmoid(logits[-1, yes].double() - logits[-1, no].double()).item()
        return probability

    def _asked(self, prompt: str) -> tuple[list[int], int, int]:
        """The tokens that a prompt answered Yes and one answered No have in common, and the first one of each that differs."""
        yes, no = self._tokens(f"{prompt} Yes"), self._tokens(f"{prompt} No")
        same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(yes, no, strict=False))))
        if not 0 < same < min(len(yes), len(no)):
            raise ConfigError(
                "the judge's tokenizer does not tell an answer of Yes from one of No",
                expected="a tokenizer with different tokens for them",
                do="Take another language model as judge.",
            )
        return yes[:same], yes[same], no[same]

    def _loss(self, prompt: str, texts: Sequence[list[int]]) -> Float[np.ndarray, " n"]:
        """Mean cross-entropy of each text's tokens after the prompt, in nats; 0 of no tokens."""
        before = self._tokens(prompt)
        loss = np.zeros(len(texts))
        for place, logits in self._read([before + text for text in texts]):
            if text := texts[place]:
                predicted = logits[len(before) - 1 : -1].double().log_softmax(-1)
                loss[place] = -predicted[range(len(text)), text].mean().item()
        return loss

    def _tokens(self, text: str, **options: Any) -> list[int]:
        return self.tokenizer(text, **options)["input_ids"]

    @torch.no_grad()
    def _read(self, prompts: Sequence[list[int]]) -> Iterator[tuple[int, Float[Tensor, "T V"]]]:
        """Each prompt's place and its logits; prompts of like length are read together."""
        longest = max(map(len, prompts), default=0)
        most = getattr(getattr(self.model, "config", None), "max_position_embeddings", None) or longest
        if longest > most:
            raise ConfigError(
                f"a prompt with explanation and window takes {longest:,} tokens",
                expected=f"at most {most:,}, which is as far as the judge's model reads",
                do="Shorten explanations or windows, or take another language model as judge.",
            )
        device = next(self.model.parameters()).device
        with evaluating(self.model):
            for places in _batches([len(prompt) for prompt in prompts]):
                rows = [torch.tensor(prompts[place]) for place in places]
                mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
                given = {"input_ids": pad_sequence(rows, batch_first=True), "attention_mask": mask}
                logits = forward(self.model, {name: value.to(device) for name, value in given.items()})
                yield from ((place, logits[row, : len(prompts[place])]) for row, place in enumerate(places))


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of prompts in batches of at most `TOKENS_AT_ONCE` tokens, or of one prompt; the shortest first."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[place] > TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
