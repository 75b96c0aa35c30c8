"""The interfaces that both modes implement: same names, order and defaults, in each its own tensors.

`State` is the mode's own tensor.  Legacy: a `torch.Tensor` of dims (batch, field, *space), or
(batch, field, time, *space) for trajectories.  PhiML: a `phiml.math.Tensor` with the batch dims `batch`
and, for trajectories, `time`, the spatial dims of the grid, and the channel dim `field` whose item names
are the components of the layout.  Arrays cross between modes as numpy in the legacy order of dims.

Every component carries `mode`, the side that made it, and never changes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid

State = Any
Parameters = Mapping[str, Any]
Side = Literal["legacy", "phiml"]
Source = Literal["both", "real", "generated"]
Record = dict[str, Any]
Observer = Callable[[Record], None]


class Window(NamedTuple):
    """One sample: the state at the first frame, and the trajectory of the frames that follow it."""

    initial: State
    targets: State


@dataclass(frozen=True)
class Batch:
    """`size` windows together: real ones first, then the `generated` ones that the other model made.

    `observed`, in numpy and so the same for both modes: which cells of which target frames there is something
    to compare with, (size, time, *space); None where that is all of them.
    """

    initial: State
    targets: State
    size: int
    generated: int = 0
    observed: NDArray[np.bool_] | None = None


@dataclass
class History:
    """What a training did: one record per epoch (and per cycle), in order."""

    records: list[Record] = field(default_factory=list)

    def column(self, key: str) -> list[Any]:
        """The values of one key, of the records that have it."""
        return [r[key] for r in self.records if key in r]


@dataclass(frozen=True)
class TrainingState:
    """Everything a trainer needs to go on where it was: arrays by name, and plain facts."""

    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Solve:
    """How the inverse problem is solved, when a solve stops, and what happens when it diverges.

    Args:
        rel_tol: a step lowers the loss by less than this share of the loss at the start.
        abs_tol: no component of the projected gradient is larger.
        max_iterations: steps.
        method: `L-BFGS-B`, or `adam` with steps of `learning_rate`, in units of the parameters.
        retries: how often a solve that diverged is tried again, each time with a tenth of the step.
        max_failures: so many solves in a row that diverged all the same stop the run.
    """

    abs_tol: float = 1e-9
    rel_tol: float = 1e-6
    max_iterations: int = 50
    method: Literal["L-BFGS-B", "adam"] = "L-BFGS-B"
    learning_rate: float = 1e-2
    retries: int = 2
    max_failures: int = 3


@dataclass(frozen=True)
class LossWeights:
    """What a real window and a generated one count in a loss.

    `proportional`: at the start of each phase of a surrogate, and of each solve, the interaction term is
    scaled to the size of the real one.
    """

    real: float = 1.0
    interaction: float = 1.0
    proportional: bool = False


@dataclass(frozen=True)
class Optimizer:
    """The optimiser of a surrogate: adam (L2 decay inside the gradient), adamw (decoupled decay), or sgd."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.9


@dataclass(frozen=True)
class EarlyStopping:
    """A phase ends when its loss has not fallen by `min_delta`, relatively, for `patience` epochs."""

    patience: int
    min_delta: float = 0.0


@dataclass(frozen=True)
class Plan:
    """The plan of a hybrid training: rounds of warm-up, and what each round trains and generates.

    Args:
        warmup: rounds on the data alone, before the cycles.
        synthetic_epochs, physical_epochs: of one round.
        alpha: share of the real windows that the surrogate sees per epoch of a cycle, in (0, 1].
        num_trajectories, trajectory_length: what each model generates for the other per cycle; frames,
            the initial one included.
        interaction: whether the models learn from each other at all.
        simultaneous: both learn from the other one as the cycle found it, not as its first half left it.
        reversion: a model whose loss a cycle made worse by more than this share goes back to the last one
            that was accepted; None: never.
        points: cells, drawn anew in every cycle, that generated trajectories are compared in; None: all.
        synthetic_weights, physical_weights: the loss weights of a cycle, counted from 1; before, in the
            warm-up, there is only the real term.
    """

    warmup: int = 1
    synthetic_epochs: int = 1
    physical_epochs: int = 1
    alpha: float = 1.0
    num_trajectories: int = 4
    trajectory_length: int = 10
    interaction: bool = True
    simultaneous: bool = False
    reversion: float | None = None
    points: int | None = None
    synthetic_weights: Callable[[int], LossWeights] = lambda cycle: LossWeights()
    physical_weights: Callable[[int], LossWeights] = lambda cycle: LossWeights()


class Arrays(ABC):
    """Where a mode's tensors meet numpy: dims stated, device and precision chosen once.

    numpy dims: (batch, field, *space), (batch, field, time, *space) for trajectories, and () or
    (*space) for parameters.
    """

    @abstractmethod
    def state(self, array: NDArray[Any]) -> State:
        """The native state of an array (batch, field, *space)."""

    @abstractmethod
    def trajectory(self, array: NDArray[Any]) -> State:
        """The native trajectory of an array (batch, field, time, *space)."""

    @abstractmethod
    def parameter(self, array: NDArray[Any] | float) -> Any:
        """The native parameter of a scalar or an array (*space)."""

    @abstractmethod
    def entries(self, array: NDArray[Any]) -> Any:
        """The native tensor of an array (batch, time, *space), such as the weights of a loss."""

    @abstractmethod
    def place(self, tensor: Any) -> Any:
        """The tensor on this device in this precision; itself when it already is.  Gradients flow through."""

    @abstractmethod
    def numpy(self, tensor: Any) -> NDArray[Any]:
        """The numpy array of a state, trajectory or parameter, dims in the order above."""

    @property
    @abstractmethod
    def tracing(self) -> bool:
        """Whether a function is being traced right now: its tensors are symbols and have no values."""


class Component(ABC):
    """What every component has: the side that made it, and the ending of the files that it writes."""

    mode: ClassVar[Side]
    suffix: ClassVar[str]


class PhysicalModel(Component):
    """A discretised PDE whose parameters may be learned.

    Attributes: grid; layout (the components of a state); arrays (numpy in and out); dt (time step);
    description (the facts from which either mode can build it again, `hyco.learning.descriptions`).
    """

    name: str
    grid: Grid
    layout: FieldLayout
    arrays: Arrays
    dt: float
    description: Mapping[str, Any]

    @property
    @abstractmethod
    def parameters(self) -> Parameters:
        """The parameters in force: name -> scalar or field (*space), native."""

    @abstractmethod
    def assign(self, values: Mapping[str, NDArray[Any] | float]) -> None:
        """Put numpy values in force; names not given stay.  Raises ConfigError for what does not fit."""

    @abstractmethod
    def bounds(self, name: str) -> tuple[float, float]:
        """The least and the greatest admissible value of a parameter."""

    @abstractmethod
    def initial_state(self, batch: int, *, rng: np.random.Generator) -> State:
        """Random initial conditions of the equation, the same in both modes for the same `rng`."""

    @abstractmethod
    def step(self, state: State, parameters: Parameters | None = None) -> State:
        """One time step of length `dt`; `parameters` replaces those in force, by name."""

    @abstractmethod
    def rollout(self, state: State, steps: int, parameters: Parameters | None = None) -> State:
        """The trajectory of `steps + 1` frames that begins with `state`."""

    @abstractmethod
    def predict(self, initial: NDArray[Any], steps: int) -> NDArray[Any]:
        """`rollout` from and to numpy, without gradients.

        (batch, field, *space) -> (batch, field, time, *space) with `steps + 1` frames.
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the parameters to a checkpoint, atomically."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Read a checkpoint of `save`; raises CheckpointError naming every entry that does not fit."""


class SyntheticModel(Component):
    """A neural surrogate that advances a state by one time step.

    `network` is the framework's own module; `training(True)` puts it into training mode.  `description`:
    the facts from which either mode can build it again, see `hyco.learning.descriptions`.
    """

    name: str
    grid: Grid
    layout: FieldLayout
    arrays: Arrays
    network: Any
    description: Mapping[str, Any]

    @abstractmethod
    def __call__(self, state: State) -> State:
        """One step; static fields pass through bit for bit."""

    @abstractmethod
    def rollout(self, state: State, steps: int) -> State:
        """The trajectory of `steps + 1` frames that begins with `state`."""

    @abstractmethod
    def predict(self, initial: NDArray[Any], steps: int) -> NDArray[Any]:
        """`rollout` from and to numpy, without gradients, in evaluation mode.

        (batch, field, *space) -> (batch, field, time, *space) with `steps + 1` frames.
        """

    @abstractmethod
    def training(self, on: bool) -> None:
        """Training mode (True) or evaluation mode (False) of layers such as batch normalisation."""

    @abstractmethod
    def weights(self) -> dict[str, NDArray[Any]]:
        """Every entry of the network's state, by state-dict name, as numpy."""

    @abstractmethod
    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Put weights in force.  Raises CheckpointError naming every missing, unexpected, misshapen entry."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the weights to a checkpoint, atomically."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Read a checkpoint of `save`; raises CheckpointError naming every entry that does not fit."""


class Windowed(Protocol):
    """Files from which windows of trajectories are read, without the rest of them."""

    def windows(self, simulations: Sequence[int], starts: Sequence[int], steps: int) -> NDArray[Any]:
        """(window, field, time, *space): `steps` frames of each of these simulations, from its start on."""


class DataManager(Component):
    """Trajectories on disk, loaded once, cached in the mode's own format, validated by fingerprint."""

    grid: Grid
    layout: FieldLayout
    arrays: Arrays

    @abstractmethod
    def load(self, simulation: int) -> State:
        """One trajectory, as a batch of one.

        Raises DataError when it is missing, damaged, or another problem's.
        """

    @abstractmethod
    def is_cached(self, simulation: int) -> bool:
        """Whether a cache that matches the trajectory on disk exists."""

    @abstractmethod
    def prepare(self, simulations: Sequence[int]) -> None:
        """Cache the trajectories that are not cached yet, by `cache.workers` processes."""

    @abstractmethod
    def frames(self, simulation: int) -> int:
        """The number of frames of a trajectory, without loading it."""

    @abstractmethod
    def resident(self, simulations: Sequence[int]) -> int:
        """How many of these trajectories fit into memory at once; at least 1."""

    @abstractmethod
    def streamed(self, simulations: Sequence[int]) -> Windowed | None:
        """What windows of these trajectories are read from, where they do not fit into memory together.

        None: they are to be loaded; so are those that were generated, always.
        """


class Dataset(Component):
    """Windows of `rollout_steps` frames, cut from trajectories; immutable.

    The first windows are real ones (from simulations, in the order given, by start), the others were
    generated.
    """

    grid: Grid
    layout: FieldLayout
    arrays: Arrays
    rollout_steps: int

    @abstractmethod
    def __len__(self) -> int:
        """The number of windows, real and generated."""

    @abstractmethod
    def __getitem__(self, index: int) -> Window:
        """One window, without a batch dim."""

    @property
    @abstractmethod
    def generated(self) -> int:
        """How many of the windows were generated."""

    @property
    @abstractmethod
    def streams(self) -> bool:
        """Whether real windows come from files that are too large to hold, whenever they are asked for."""

    @abstractmethod
    def get_batch(self, indices: Sequence[int]) -> Batch:
        """The windows of these indices, in this order."""

    @abstractmethod
    def batches(
        self,
        size: int,
        *,
        rng: np.random.Generator | None = None,
        source: Source = "both",
        skip: int = 0,
    ) -> Iterator[Batch]:
        """All windows of `source`, once, in batches; `rng` shuffles them (None: in order).

        With generated windows, `rng` also draws which share of the real ones takes part (see
        `with_generated`).  The first `skip` batches are left out, without being read.
        """

    @abstractmethod
    def with_generated(
        self, trajectories: State, *, alpha: float = 1.0, points: NDArray[np.bool_] | None = None
    ) -> Dataset:
        """A new dataset that has the windows of these trajectories too.

        `alpha` in (0, 1] is the share of the real windows that one pass over shuffled batches uses.
        `points`, (*space): the cells that generated windows are compared in; None: all.
        """

    @abstractmethod
    def with_rollout_steps(self, rollout_steps: int) -> Dataset:
        """The same trajectories, real and generated, in windows of another length."""

    @abstractmethod
    def seen_by(self, model: Literal["physical", "synthetic"]) -> Dataset:
        """The real trajectories as the sensors of one model see them."""


class SyntheticTrainer(Component):
    """Fits a surrogate by rolling it out over windows: mean squared error over the predicted frames."""

    model: SyntheticModel

    @abstractmethod
    def fit(
        self,
        train: Dataset,
        validation: Dataset | None = None,
        *,
        epochs: int,
        weights: LossWeights | None = None,
    ) -> History:
        """Train for `epochs` more epochs; records one entry per epoch.

        `weights`: of real and generated windows; None: every window counts 1.
        """

    @abstractmethod
    def evaluate(self, dataset: Dataset) -> float:
        """Mean loss over the real windows of a dataset."""

    @property
    @abstractmethod
    def epochs_done(self) -> int:
        """How many epochs this trainer has finished, restored ones included."""

    @property
    @abstractmethod
    def generated_seen(self) -> int:
        """How many generated windows the last finished epoch trained on."""

    @abstractmethod
    def state(self) -> TrainingState:
        """Weights, optimiser moments, best weights, epoch and history."""

    @abstractmethod
    def use_best(self) -> None:
        """Put the best state so far in force: the least validation loss, or training loss without one."""

    @abstractmethod
    def restore(self, state: TrainingState) -> None:
        """Go on from `state`; raises CheckpointError when it does not fit."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write `state()` to a checkpoint, atomically."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Restore from a checkpoint of `save`."""


class PhysicalTrainer(Component):
    """Fits the learnable parameters of a physical model: the inverse problem, by L-BFGS-B.

    min over theta of  mean over windows of  |rollout(initial; theta) - targets|^2,   lower <= theta <= upper
    """

    model: PhysicalModel

    @abstractmethod
    def fit(
        self,
        train: Dataset,
        validation: Dataset | None = None,
        *,
        epochs: int,
        weights: LossWeights | None = None,
    ) -> History:
        """Solve the inverse problem `epochs` more times, each from where the last one ended.

        `weights`: of real and generated windows; None: every window counts 1.
        """

    @abstractmethod
    def evaluate(self, dataset: Dataset) -> float:
        """Mean loss over the real windows of a dataset."""

    @property
    @abstractmethod
    def epochs_done(self) -> int:
        """How many solves this trainer has finished, restored ones included."""

    @property
    @abstractmethod
    def generated_seen(self) -> int:
        """How many generated windows the last finished solve fitted."""

    @abstractmethod
    def state(self) -> TrainingState:
        """Parameters, best parameters, epoch and history."""

    @abstractmethod
    def use_best(self) -> None:
        """Put the best state so far in force: the least validation loss, or training loss without one."""

    @abstractmethod
    def restore(self, state: TrainingState) -> None:
        """Go on from `state`; raises CheckpointError when it does not fit."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write `state()` to a checkpoint, atomically."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Restore from a checkpoint of `save`."""


class HybridTrainer(Component):
    """Trains both models, each on the data and on what the other one generates (HYCO)."""

    synthetic: SyntheticTrainer
    physical: PhysicalTrainer

    @abstractmethod
    def fit(self, train: Dataset, validation: Dataset | None = None, *, cycles: int) -> History:
        """Warm up, then alternate for `cycles` cycles; work that the trainers have done is not repeated."""

    @abstractmethod
    def state(self) -> TrainingState:
        """What a cycle needs beside the states of the trainers: the models that it found, those accepted."""

    @abstractmethod
    def restore(self, state: TrainingState) -> None:
        """Go on from `state`; raises CheckpointError when it does not fit."""
