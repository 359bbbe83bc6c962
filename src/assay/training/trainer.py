"""One loop for every dictionary; many dictionaries share each batch, so a sweep reads its activations once.

`train` is a generator: it yields `Progress` at every logged step and does nothing behind the reader's back. With a folder it keeps
checkpoints and a progress log; stopped anywhere and started again, it ends with the same bytes.

A loss that is not finite never reaches a parameter: the step halts the training, is left out, or sends its arm back to the last
checkpoint, as `nonfinite` says. A finite loss has finite gradients, unless a sum over the batch overflows; a checkpoint looks for that.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import xxhash
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from assay import disk, ranks
from assay.activations.store import ActivationStore
from assay.config import Config, set_at
from assay.dictionary import Dictionary, Pass, Step
from assay.errors import ConfigError, Diverged, Interrupted
from assay.lock import writing
from assay.training.dead import DeadLatents, explained_variance, resample
from assay.training.gradients import sum_gradients
from assay.training.keeper import Keeper
from assay.training.optimizer import UnitNormAdam
from assay.training.parallel import ALONE, Parallel, together
from assay.training.progress import Measured, Progress
from assay.training.schedule import Schedule
from assay.units import Scale


class TrainConfig(Config):
    """How long and how fast to train. The batch size and the order of the data belong to the store."""

    steps: int = Field(default=10_000, ge=1)
    """Steps of training."""
    learning_rate: float = Field(default=3e-4, gt=0, le=1e30)
    """Peak learning rate of Adam."""
    beta1: float = Field(default=0.0, ge=0, le=0.9999999)
    """Adam's memory of the gradient; zero, because gradients of rare latents are sparse in time."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Adam's memory of the squared gradient."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Largest norm of the whole gradient; a larger one is scaled down. None clips nothing, and is faster."""
    warmup: float = Field(default=0.02, ge=0, le=1)
    """Fraction of training over which the learning rate rises."""
    decay: float = Field(default=0.2, ge=0, le=1)
    """Last fraction of training, over which it falls to zero."""
    dead_window: int = Field(default=10_000_000, ge=1)
    """Tokens after which a silent latent counts as dead."""
    resample_at: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    """Fractions of training at which dead latents are resampled."""
    resample_dip: int = Field(default=1000, ge=1)
    """Steps in which the learning rate climbs back after a resampling."""
    nonfinite: Literal["halt", "skip", "rollback"] = "halt"
    """What NaN or infinity in a loss does: stop; leave the step out; or return the arm to the last checkpoint and train on from there."""
    nonfinite_share: float = Field(default=0.001, ge=0, le=1)
    """Largest share of an arm's steps that may be skipped or rolled back (at least one); one more stops the training."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of dense products; parameters and moments stay float32."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of resampling."""
    sample_rows: int = Field(default=32_768, ge=1)
    """Rows from which mean, scale and starting values are fitted."""
    log_every: int = Field(default=10, ge=1)
    """Steps between progress records."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between checkpoints."""
    latent_shards: int = Field(default=1, ge=1)
    """Processes that hold the latents of a dictionary between them; those of torchrun beyond that share the batch."""

    def schedule(self) -> Schedule:
        """The learning rate's course."""
        return Schedule(self.steps, self.warmup, self.decay, self.resampling_steps(), self.resample_dip)

    def resampling_steps(self) -> list[int]:
        """Steps after which dead latents are resampled."""
        return sorted({int(fraction * self.steps) for fraction in self.resample_at})

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with: all that changes the result."""
        others = {"log_every", "checkpoint_every", "latent_shards"}
        return {key: value for key, value in self.resolved().items() if key not in others}


class Trainee:
    """A dictionary in training, with its optimiser and its dead-latent count; of one that is spread over processes, what is here."""

    def __init__(self, dictionary: Dictionary, config: TrainConfig, parallel: Parallel = ALONE) -> None:
        self.dictionary, self.config, self.parallel = dictionary, config, parallel
        self.weights = dictionary.config.weights()
        self.optimizer = UnitNormAdam(dictionary, config.beta1, config.beta2, config.clip_norm)
        self.dead = DeadLatents(dictionary.config.width, config.dead_window, dictionary.atoms.device)
        self.nonfinite = 0

    @together
    def loss(
        self,
        x: Float[Tensor, "B D"],
        progress: float,
        target: Float[Tensor, "B E"] | None = None,
        downstream: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Step, Pass, Float[Tensor, ""]]:
        """Forward pass on the rows here of a scaled batch, by default its own target; the weighted loss of the whole batch."""
        here = self.parallel.slice(x)
        goal = here if target is None or target is x else self.parallel.slice(target)
        step = Step(here, goal, self.dead.mask(), progress, downstream)
        with self._compute(here.device):
            result = self.dictionary.losses(step)
        result = replace(result, terms={name: ranks.whole(term) for name, term in result.terms.items()})
        weighted = [self.weights[name].at(progress) * term for name, term in result.terms.items()]
        return step, result, self.parallel.loss(torch.stack(weighted).sum())

    @together
    def learn(self, result: Pass, loss: Float[Tensor, ""], learning_rate: float) -> None:
        """Backward pass and update."""
        if not self.dictionary.learns():
            return
        with self.optimizer.gathering():
            loss.backward()
        sum_gradients([*self.dictionary.parameters()], self.optimizer.factors, self.parallel.parts)
        self.optimizer.step(learning_rate)
        self.dictionary.after_step(result)
        self.dead.update(result)

    @together
    def resample(self, step: Step, result: Pass, generator: torch.Generator) -> None:
        """Begin the dead latents anew, if the dictionary learns."""
        if not self.dictionary.learns():
            return
        changed = resample(self.dictionary, self.dead.mask(), step, result, generator)
        self.optimizer.forget(changed)
        self.dead.silent[changed] = 0

    @together
    def measure(self, step: Step, result: Pass, loss: Float[Tensor, ""]) -> Measured:
        """The numbers of a progress record."""
        *terms, l0 = self.parallel.means([*result.terms.values(), result.codes.l0().mean()])
        return Measured(
            loss=_finite(loss.item()),
            terms={name: _finite(term) for name, term in zip(result.terms, terms, strict=True)},
            l0=l0,
            explained_variance=_finite(explained_variance(result, step.target)),
            dead=self.dead.mask().float().mean().item() if self.dictionary.learns() else None,
            nonfinite=self.nonfinite,
        )

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on."""
        state = {f"dictionary.{name}": tensor for name, tensor in self.dictionary.state_dict().items()}
        state |= {f"adam.{name}": tensor for name, tensor in self.optimizer.state()}
        return {**state, "silent": self.dead.silent, "nonfinite": torch.tensor(self.nonfinite)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave, whole tensors; of one that is spread over processes, the rows that belong here."""
        self.split()
        own = self.state()
        parts: dict[str, dict[str, Tensor]] = {"dictionary": {}, "adam": {}}
        for key, tensor in state.items():
            if key not in {"silent", "nonfinite"}:
                part, name = key.split(".", 1)
                parts[part][name] = ranks.split_like(tensor.to(self.dictionary.atoms.device), own[key])
        self.dictionary.load_state_dict(parts["dictionary"])
        self.optimizer.restore(parts["adam"])
        self.dead.silent.copy_(state["silent"])
        self.nonfinite = int(state["nonfinite"])

    def excuse(self) -> bool:
        """Count a step whose loss is not finite; whether the settings let training go on."""
        self.nonfinite += 1
        return self.config.nonfinite != "halt" and self.nonfinite <= math.ceil(
            self.config.nonfinite_share * self.config.steps
        )

    def split(self) -> None:
        """Keep what belongs to this process, if the dictionary is spread over several."""
        if self.parallel.split(self.dictionary):
            self.optimizer.split()

    def _compute(self, device: torch.device):
        if self.config.compute_dtype == "float32":
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)


def train(
    dictionaries: Mapping[str, Dictionary],
    store: ActivationStore,
    config: TrainConfig,
    *,
    folder: Path | str | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Train dictionaries, by name of their arm, in place and together; yields progress.

    New dictionaries are first fitted to a sample of the store. With `folder`, checkpoints and the log go there, and training goes on
    from the newest. When `stop()` turns true the step is finished, a checkpoint written and Interrupted raised.
    Raises Diverged (naming step, shard and row), ShapeMismatch, ConfigError, CorruptData, OutOfDisk, StoreError (another writer).
    """
    _check_arms(dictionaries, config, files=folder is not None)
    device = next((dictionary.atoms.device for dictionary in dictionaries.values()), torch.device("cpu"))
    parallel = Parallel.of(config.latent_shards, device)
    with ExitStack() as held:
        if folder is not None:
            parallel.on_first(lambda: held.enter_context(writing(Path(folder))))
        yield from _train(dictionaries, store, config, parallel, Path(folder) if folder is not None else None, stop)


def _train(
    dictionaries: Mapping[str, Dictionary],
    store: ActivationStore,
    config: TrainConfig,
    parallel: Parallel,
    folder: Path | None,
    stop: Callable[[], bool],
) -> Iterator[Progress]:
    trainees = {name: Trainee(dictionary, config, parallel) for name, dictionary in dictionaries.items()}
    identity = _identity(trainees, config, store)
    parallel.check(dictionaries, store.batch_size, {**identity, "train": config.resolved()})
    keeper = Keeper(folder, trainees, identity, config.steps, parallel) if folder else None
    begin = keeper.resume() if keeper else 0
    if begin == 0:
        fresh = [dictionary for dictionary in dictionaries.values() if not dictionary.is_fitted()]
        if fresh:
            _start(fresh, store.sample(min(config.sample_rows, store.rows)))
    for trainee in trainees.values():
        trainee.split()
        parallel.compare(trainee.state())
    if keeper and begin == 0 and config.nonfinite == "rollback":
        keeper.save(0)
    leaders = _alike(dictionaries)
    schedule, batches = config.schedule(), store.batches(begin)
    started, waited = time.perf_counter(), 0.0
    for index in range(begin, config.steps):
        asked = time.perf_counter()
        activations = next(batches)
        waited += time.perf_counter() - asked
        done, rate = index + 1, schedule.at(index) * config.learning_rate
        logged = done % config.log_every == 0 or done == config.steps
        arms: dict[str, Measured] = {}
        scaled: dict[str, tuple[Tensor, Tensor]] = {}
        for name, trainee in trainees.items():
            if not (logged or trainee.dictionary.learns()):
                continue  # a baseline is what it started as: its codes may cost more than a step of all others
            if (leader := leaders[name]) not in scaled:
                scaled[leader] = trainee.dictionary.scaled_pair(activations.to(trainee.dictionary.atoms.device))
            x, target = scaled[leader]
            step, result, loss = trainee.loss(x, index / config.steps, target, store.downstream(index))
            if torch.isfinite(loss):
                trainee.learn(result, loss, rate)
            elif not trainee.excuse():
                raise _diverged(name, index, activations, result, store, parallel)
            elif config.nonfinite == "rollback" and keeper:
                keeper.roll_back(name)
            if logged:
                arms[name] = trainee.measure(step, result, loss.detach())
            if done in config.resampling_steps() and torch.isfinite(loss):
                trainee.resample(step, result, _generator(config.seed, index, name))
            del step, result, loss  # or the codes of this arm would be there while the next one works
        if logged:
            seconds = time.perf_counter() - started
            read = (done - begin) * store.batch_size
            progress = Progress(done, done * store.batch_size, rate, arms, seconds, read, waited / max(seconds, 1e-9))
            if keeper:
                parallel.on_first(partial(disk.append_line, keeper.log, progress.record()))
            yield progress
        stopping = parallel.agree(stop())
        if keeper and (stopping or done % config.checkpoint_every == 0 or done == config.steps):
            keeper.save(done)
        if stopping and done < config.steps:
            parallel.unite(dictionaries.values())
            raise Interrupted(
                f"stopped by a signal after step {done} of {config.steps}",
                expected="to be continued",
                do="Run the same command again; it goes on from the checkpoint." if keeper else "Nothing was saved.",
            )
    parallel.unite(dictionaries.values())


def _start(fresh: Sequence[Dictionary], sample: Float[Tensor, "N C"]) -> None:
    """Start new dictionaries from a sample, scaled once where they scale it alike; baselines that differ in the dial alone share a fit."""
    scales: dict[tuple[int, ...], Scale] = {}
    baselines: list[Dictionary] = []
    for dictionary in fresh:
        if twin := next((other for other in baselines if _fits_like(other, dictionary)), None):
            dictionary.load_state_dict(twin.state_dict())
            continue
        if not dictionary.learns():
            baselines.append(dictionary)
        parts = dictionary.config.parts
        if not dictionary.config.maps_to and parts not in scales:
            scales[parts] = Scale.of(sample, parts)
        dictionary.start(sample.to(dictionary.atoms.device), None if dictionary.config.maps_to else scales[parts])


def _fits_like(baseline: Dictionary, other: Dictionary) -> bool:
    """Whether both are one baseline, but for the dial."""
    return type(baseline) is type(other) and _but_for_dial(baseline.config) == _but_for_dial(other.config)


def _but_for_dial(settings: Dictionary.Config) -> dict[str, Any]:
    data = settings.resolved()
    set_at(data, settings.dial, None)
    return data


def _identity(trainees: Mapping[str, Trainee], config: TrainConfig, store: ActivationStore) -> dict[str, Any]:
    """What a checkpoint must agree with."""
    arms = {
        name: {"dictionary": trainee.dictionary.name, "config": trainee.dictionary.config.resolved()}
        for name, trainee in trainees.items()
    }
    order = {name: getattr(store, name) for name in ("batch_size", "seed", "window")}
    return {"train": config.identity(), "arms": arms, "store": store.identity, "order": order}


def _check_arms(dictionaries: Mapping[str, Dictionary], config: TrainConfig, *, files: bool) -> None:
    if config.nonfinite == "rollback" and not files:
        raise ConfigError(
            'nonfinite is "rollback"', expected="a folder, whose checkpoints it returns to", do='Give one, or "skip".'
        )
    if files and (bad := [name for name in dictionaries if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name)]):
        raise ConfigError(
            f"an arm is called {bad[0]!r}",
            expected="letters, digits, dots, dashes, underscores, plus signs",
            do="Rename it: it names files.",
        )
    if len({id(dictionary) for dictionary in dictionaries.values()}) < len(dictionaries):
        raise ConfigError(
            "one dictionary stands under two arms", expected="a dictionary an arm", do="Build one for each."
        )


def _alike(dictionaries: Mapping[str, Dictionary]) -> dict[str, str]:
    """For each arm the first one whose activations are scaled the same, so that a batch is scaled once for all of them."""
    leaders: dict[str, str] = {}
    for name, dictionary in dictionaries.items():
        same = (other for other in leaders.values() if dictionary.scales_like(dictionaries[other]))
        leaders[name] = next(same, name)
    return leaders


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _generator(seed: int, step: int, arm: str) -> torch.Generator:
    return torch.Generator().manual_seed(xxhash.xxh3_64_intdigest(f"resample {seed} {step} {arm}".encode()) >> 1)


def _diverged(
    arm: str, step: int, activations: Float[Tensor, "B D"], result: Pass, store: ActivationStore, parallel: Parallel
) -> Diverged:
    bad = (~torch.isfinite(activations).all(-1)).nonzero().view(-1)
    if len(bad):
        place = store.locate(step, int(bad[0]))
        return Diverged(
            f"step {step}: the activations hold NaN or infinity, first in shard {place.shard}, row {place.row}",
            expected="finite activations",
            do="Run `assay verify` on the store and harvest it again.",
        )
    rows = parallel.rows((~torch.isfinite(result.reconstruction).all(-1)).to(torch.uint8)).nonzero().view(-1)
    terms = ", ".join(name for name, term in result.terms.items() if not torch.isfinite(term))
    place = store.locate(step, int(rows[0]) if len(rows) else 0)
    return Diverged(
        f"step {step}: the loss of {arm} is not finite (terms: {terms or 'their sum'}; first seen in shard {place.shard}, row {place.row})",
        expected="a finite loss",
        do="Lower learning_rate or the sparsity weight; the last checkpoint is whole.",
    )
