"""How one training is spread over processes: data parallel, or with the latents in shards, or both.

    ranks 0 .. W-1 = data ranks x latent shards, a DeviceMesh ("data", "latents")

    data      each rank has its rows of every batch; gradients are summed (`gradients`), all else is decided alike on all ranks
    latents   each rank has its rows of the parameters with one row a latent (DTensors), and of their moments; `ranks` has the sums

Every rank reads the whole batch and takes its rows, so that the order of the data, and with it a resumption on another number of ranks,
does not depend on who trains. The first rank alone writes; files are those of a training in one process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
import torch.distributed as dist
import xxhash
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from assay import errors, ranks
from assay.dictionary import Dictionary
from assay.errors import AssayError, ConfigError, Diverged, RankLost
from assay.ranks import Ranks

TIMEOUT = timedelta(seconds=45)
"""How long a rank waits for the others in a step. A rank that was killed is noticed at once; this is for one that hangs."""
WRITING = timedelta(hours=1)
"""How long the others wait for the first rank to write or read a checkpoint."""

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def launched() -> Iterator[None]:
    """Inside the block this process trains with those that torchrun started beside it, if it did: gloo on CPUs, nccl on GPUs.

    Raises ConfigError when they do not find each other.
    """
    described = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
    if not described or int(os.environ["WORLD_SIZE"]) < 2 or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"the {os.environ['WORLD_SIZE']} processes did not find each other ({str(error).splitlines()[0]})",
            expected=f"all of them at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']} within {TIMEOUT.seconds} s",
            do="Start them with torchrun, and see that this address can be reached from each.",
        ) from error
    try:
        yield
    finally:
        _spread.cache_clear()
        dist.destroy_process_group()


@dataclass(frozen=True)
class Parallel:
    """Who trains with this process. All fields are None where it trains alone, and then every method is the identity."""

    parts: Ranks | None = None
    """Those that hold the same latents and other rows of the batch."""
    latents: DeviceMesh | None = None
    """Those that hold the same rows of the batch and other latents."""
    everyone: Ranks | None = None
    """All of them, for what is decided together."""
    patient: Ranks | None = None
    """The same, with time enough for the first of them to write."""

    @classmethod
    def of(cls, shards: int, device: torch.device) -> Parallel:
        """All processes of the initialised group, every `shards` of them holding a dictionary between them. Raises ConfigError."""
        world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        if world % shards:
            raise ConfigError(
                f"latent_shards is {shards}, and there {'is 1 process' if world == 1 else f'are {world} processes'}",
                expected="a number of processes that it divides",
                do=f"Run `torchrun --nproc-per-node {shards} -m assay train ...`.",
            )
        return cls() if world == 1 else _spread(dist.group.WORLD, shards, device.type)

    @property
    def first(self) -> bool:
        """Whether this rank is the one that writes."""
        return self.everyone is None or self.everyone.index == 0

    def check(self, dictionaries: Mapping[str, Dictionary], batch_size: int, settings: Any) -> None:
        """Raises ConfigError unless batch and widths divide, and all ranks have the same settings."""
        if self.parts and batch_size % self.parts.size:
            raise ConfigError(
                f"batches of {batch_size} rows for {self.parts.size} data ranks",
                expected="equally many rows on each",
                do=f"Make the batch a multiple of {self.parts.size}.",
            )
        if self.latents:
            for name, dictionary in dictionaries.items():
                if not dictionary.divisible:
                    raise ConfigError(
                        f"{name} ({dictionary.name}) is to be held in {self.latents.size()} shards",
                        expected="a variant whose latents may lie apart",
                        do="Set train.latent_shards = 1: the processes share the batch then.",
                    )
                if dictionary.config.width % self.latents.size():
                    raise ConfigError(
                        f"{name} has {dictionary.config.width} latents, to be held in {self.latents.size()} shards",
                        expected="equally many latents in each",
                        do=f"Make its width a multiple of {self.latents.size()}.",
                    )
        if self.everyone:
            digest = _digest(json.dumps(settings, sort_keys=True, default=str).encode())
            if len(set(self.everyone.stacked(torch.tensor(digest)).tolist())) > 1:
                raise ConfigError(
                    "the ranks have different settings or activations",
                    expected="the same on each",
                    do="Give every process the same run, changes and files.",
                )

    # A step.

    def slice(self, batch: Tensor) -> Tensor:
        """This rank's rows of a batch."""
        if self.parts is None:
            return batch
        rows = len(batch) // self.parts.size
        return batch[self.parts.index * rows : (self.parts.index + 1) * rows]

    def loss(self, part: Tensor) -> Tensor:
        """The loss of the whole batch, from that of this rank's rows, whose gradient is what they contribute to the whole."""
        return part if self.parts is None else _Loss.apply(part, self.parts)  # pyright: ignore[reportReturnType]

    def rows(self, tensor: Tensor) -> Tensor:
        """The rows of the whole batch, from this rank's."""
        return self.parts.stacked(tensor).flatten(0, 1) if self.parts else tensor

    def means(self, numbers: Sequence[Tensor]) -> list[float]:
        """Means over the parts of the batch."""
        if not numbers:
            return []
        together = torch.stack([number.detach().double() for number in numbers])
        return (together if self.parts is None else self.parts.sum(together) / self.parts.size).tolist()

    def agree(self, asked: bool) -> bool:
        """Whether any rank asks for it."""
        return bool(self.everyone.largest(torch.tensor(int(asked)))) if self.everyone else asked

    # State.

    def split(self, dictionary: Dictionary) -> bool:
        """Keep this rank's rows only of the parameters with one row a latent; whether anything changed."""
        if self.latents is None or ranks.is_sharded(dictionary.atoms):
            return False
        for name, parameter in dictionary.per_latent_parameters().items():
            _replace(dictionary, name, ranks.split(parameter, self.latents))
        return True

    def unite(self, dictionaries: Iterable[Dictionary]) -> None:
        """Give every rank the whole dictionaries again."""
        for dictionary in dictionaries:
            for name, parameter in list(dictionary.named_parameters()):
                if ranks.is_sharded(parameter):
                    _replace(dictionary, name, ranks.whole(parameter.detach()))

    def gathered(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The whole tensors of a state, on the first rank; elsewhere nothing. One tensor after another travels.

        Raises Diverged when ranks that must hold the same numbers do not.
        """
        self.compare(state)
        found: dict[str, Tensor] = {}
        for key, tensor in state.items():
            if (shard := ranks.shard_of(tensor)) is None:
                found[key] = tensor
            elif self.parts is None or self.parts.index == 0:
                whole = shard.ranks.collected(ranks.local(tensor))
                found |= {} if whole is None else {key: whole.cpu()}
        return found if self.first else {}

    def compare(self, state: Mapping[str, Tensor]) -> None:
        """Raises Diverged unless every rank holds to the bit what others hold a copy of."""
        if self.everyone is None:
            return
        digests = torch.tensor([_digest_of(ranks.local(tensor)) for tensor in state.values()])
        place, shards = self.everyone.index, self.latents.size() if self.latents else 1
        everyone = self.everyone.stacked(digests)
        for number, (key, tensor) in enumerate(state.items()):
            copies = everyone[place % shards :: shards, number] if ranks.is_sharded(tensor) else everyone[:, number]
            if len(set(copies.tolist())) > 1:
                raise Diverged(
                    f"{key} is not the same on all ranks that hold it",
                    expected="equal bits",
                    do="Use processors of one kind; in a variant of your own sum over latents with `codes.mean_row_sum` and `ops`.",
                )

    def on_first(self, action: Callable[[], Any], *, busy: bool = False) -> int | None:
        """Do something on the first rank while the others wait: all return its whole number, or raise its error.

        All meet before, so that a rank that hangs is noticed soon; not where some are `busy` sending a state.
        """
        if self.everyone is None:
            return action()
        if not busy:
            self.agree(False)
        outcome: dict[str, Any] = {}
        failed: BaseException | None = None
        if self.first:
            try:
                value = action()
                outcome = {"value": value if isinstance(value, int) else None}
            except AssayError as error:
                failed = error
                outcome = {"kind": type(error).__name__, "got": error.got, "expected": error.expected, "do": error.do}
            except BaseException as error:
                failed = error
                outcome = {"kind": RankLost.__name__, "got": f"rank 0 stopped: {error!r}"}
                outcome |= {"expected": "it to go on", "do": "Its own message says why."}
        outcome = json.loads(self._told(json.dumps(outcome)))
        if failed is not None:
            try:
                raise failed
            finally:
                failed = None  # it would hold its own traceback, and with it the groups
        if "kind" in outcome:
            kind = getattr(errors, outcome["kind"], AssayError)
            raise kind(outcome["got"], expected=outcome["expected"], do=outcome["do"])
        return outcome["value"]

    def _told(self, text: str) -> str:
        """The first rank's text."""
        assert self.patient is not None
        data = torch.tensor(list(text.encode()), dtype=torch.uint8)
        length = int(self.patient.from_first(torch.tensor(len(data))))
        data = data if self.first else torch.empty(length, dtype=torch.uint8)
        return bytes(self.patient.from_first(data).tolist()).decode()


def together(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """A method of something that has a `parallel`: it works on this process's part of a batch."""

    @wraps(method)
    def run(self: Any, *args: P.args, **kwargs: P.kwargs) -> T:
        with ranks.sharing_batch(self.parallel.parts):
            return method(self, *args, **kwargs)

    return run


ALONE = Parallel()
"""A training in one process."""


class _Loss(torch.autograd.Function):
    """Mean over the parts; as every rank runs backward from it, each part's gradient is its share."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, parts: Ranks) -> Tensor:
        ctx.size = parts.size
        return parts.sum(part) / parts.size

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):  # pyright: ignore
        return gradient / ctx.size, None


@cache
def _spread(world: dist.ProcessGroup, shards: int, device: str) -> Parallel:
    """What `Parallel.of` gives, made once for a group: DTensor keeps meshes by their shape, and would take a second one for the first."""
    layout = torch.arange(dist.get_world_size(world)).view(-1, shards)
    parts, latents = _group_of(layout.T, TIMEOUT), _group_of(layout, TIMEOUT)
    everyone, patient = (_group_of(layout.view(1, -1), limit, "gloo") for limit in (TIMEOUT, WRITING))
    mesh = DeviceMesh.from_group([parts, latents], device, layout, mesh_dim_names=("data", "latents"))
    return Parallel(
        Ranks(parts) if len(layout) > 1 else None,
        mesh["latents"] if shards > 1 else None,
        Ranks(everyone),
        Ranks(patient),
    )


def _group_of(rows: Tensor, timeout: timedelta, backend: str | None = None) -> dist.ProcessGroup:
    """The group of this process's row, one being made for each."""
    groups = [dist.new_group(row, timeout, backend) for row in rows.tolist()]
    return next(group for group in groups if isinstance(group, dist.ProcessGroup))


def _replace(dictionary: Dictionary, name: str, tensor: Tensor) -> None:
    parent, _, last = name.rpartition(".")
    dictionary.get_submodule(parent).register_parameter(last, nn.Parameter(tensor))


def _digest(data: bytes | memoryview) -> int:
    return xxhash.xxh3_64_intdigest(data) >> 1


def _digest_of(tensor: Tensor) -> int:
    """63 bits of a tensor's bytes."""
    return _digest(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
