"""What an endpoint answered is kept: what was paid for is not asked for again, after an interruption or in another evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import xxhash

from assay import disk
from assay.folders import cache_folder


class Answers:
    """Probabilities by the digest of the address and of the request, which holds the model, the question, the explanation and the texts.

    A file of JSON lines, one synced for each answer, and no text in it. Delete it to ask anew. Raises CorruptData.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = {str(line.get("request")): line.get("probabilities") for line in disk.read_lines(path)}

    @classmethod
    def of(cls, url: str, model: str) -> Answers:
        """Those that are kept of a model at an address."""
        return cls(cache_folder() / "answers" / f"{_digest(url, model.encode())}.jsonl")

    def get(self, url: str, request: bytes, many: int) -> list[float] | None:
        """What was answered to a request; None where that is not known, or not `many` numbers from 0 to 1."""
        return probabilities(self.known.get(_digest(url, request)), many)

    def keep(self, url: str, request: bytes, answer: Sequence[float]) -> None:
        """Keep it for good."""
        key = _digest(url, request)
        self.known[key] = list(answer)
        disk.make_folder(self.path.parent)
        disk.append_line(self.path, {"request": key, "probabilities": list(answer)})


def probabilities(found: object, many: int) -> list[float] | None:
    """A list of `many` numbers from 0 to 1; None where it is something else."""
    if not isinstance(found, list) or len(found) != many:
        return None
    if not all(type(number) in (int, float) and 0 <= number <= 1 for number in found):
        return None
    return [float(number) for number in found]


def _digest(url: str, request: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(url.encode() + b"\n" + request)
