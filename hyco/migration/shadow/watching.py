"""Puts the recorder around the components of a run, when the factory makes them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hyco import interfaces
from hyco.config import Config
from hyco.interfaces import Arrays, Side
from hyco.migration.shadow import cases
from hyco.migration.shadow.journal import Journal
from hyco.migration.shadow.recorder import Part, Recorder
from hyco.migration.shadow.rounding import Slopes
from hyco.migration.shadow.tally import Record
from hyco.migration.shadow.twins import Twins
from hyco.storage.atomic import write_json

C = TypeVar("C")
FILE = "shadow.json"
OTHER: Mapping[str, Side] = {"legacy": "phiml", "phiml": "legacy"}
WATCHED: Mapping[type, tuple[str, Mapping[str, cases.Case]]] = {
    interfaces.DataManager: ("data_manager", {"load": cases.Load()}),
    interfaces.Dataset: ("dataset", {"get_batch": cases.GetBatch()}),
    interfaces.PhysicalModel: (
        "physical_model",
        {"step": cases.Step(), "rollout": cases.PhysicalRollout()},
    ),
    interfaces.SyntheticModel: (
        "synthetic_model",
        {"__call__": cases.Network(), "rollout": cases.SyntheticRollout()},
    ),
    interfaces.PhysicalTrainer: (
        "physical_trainer",
        {"loss": cases.PhysicalLoss(), "loss_and_gradients": cases.LossAndGradients()},
    ),
    interfaces.SyntheticTrainer: (
        "synthetic_trainer",
        {"loss": cases.SyntheticLoss(), "update": cases.Update()},
    ),
}


@dataclass(frozen=True)
class _Trial:
    """One call of a watched component."""

    case: cases.Case
    control: Any
    twin: Callable[[], Any]
    given: Any
    slopes: Slopes

    def of_control(self, result: Any) -> Sequence[Part]:
        """What the control's result consists of, and how large the terms are that it is made of."""
        parts = self.case.parts(self.control, result, self.given)
        return self.slopes.weigh(parts, self.given) if isinstance(self.given, cases.Learning) else parts

    def prepare(self) -> Callable[[], Sequence[Part]]:
        """Make the candidate's state the control's; what comes back does the call."""
        twin = self.twin()
        repeat = self.case.repetition(twin, self.given)
        return lambda: self.case.parts(twin, repeat(), self.given)


class Shadow:
    """Watches the components of one run.

    Calls within a function that PhiML traces have no values yet, and pass through uncompared.

    Args:
        config: the experiment, whose `migration.shadow` says how often and how strictly to compare.
        folder: of the run: `shadow.jsonl` and `shadow.json` go there.
        renewed: tasks whose earlier comparisons are dropped from the record, since they are done again.
    """

    def __init__(self, config: Config, folder: Path, renewed: Collection[str] = ()) -> None:
        self.path = folder / FILE
        self.settings = config.migration.shadow
        self.journal = Journal(folder, renewed)
        self.recorder = Recorder(self.settings, config.trainer.precision, self.journal)
        self._began = time.perf_counter()
        self._arrays: dict[str, Arrays] = {}
        self._twins = {side: Twins(config, side) for side in OTHER.values()}
        self._slopes = Slopes()

    def begin(self, task: str) -> None:
        """What follows belongs to this task, of which the first call of every kind is compared."""
        self.journal.begin(task)

    def watch(self, component: C) -> C:
        """The component itself, whose calls are compared from now on with those of the other side."""
        if isinstance(component, interfaces.Dataset):
            twins, simulations = self._twins_of(component), component.simulations  # type: ignore[attr-defined]
            return self._watch_dataset(component, functools.cache(lambda: twins.dataset(simulations)))
        for interface, (name, methods) in WATCHED.items():
            if isinstance(component, interface):
                twins = self._twins_of(component)
                return self._dressed(component, name, methods, functools.partial(getattr, twins, name))
        return component

    def summary(self) -> Record:
        """All that was compared, and what comparing took in this process so far."""
        whole, spent = time.perf_counter() - self._began, self.recorder.spent
        calls = self.journal.summary()
        return {
            **{key: getattr(self.settings, key) for key in ("every", "on_mismatch", "rtol", "atol")},
            **{key: sum(c[key] for c in calls) for key in ("compared", "mismatches", "failures")},
            "overhead_seconds": spent,
            "overhead_per_cent": 100.0 * spent / (whole - spent),
            "calls": calls,
        }

    def finish(self) -> Record:
        """Write the summary to `shadow.json`."""
        summary = self.summary()
        write_json(self.path, summary)
        return summary

    def _twins_of(self, component: Any) -> Twins:
        return self._twins[OTHER[component.mode]]

    def _watch_dataset(self, dataset: Any, twin: Callable[[], Any]) -> Any:
        """Datasets that are made from this one are watched too; their twins are made likewise."""
        cls = type(dataset)

        def derived(made: Any, of_twin: Callable[[Any], Any]) -> Any:
            return self._watch_dataset(made, functools.cache(lambda: of_twin(twin())))

        def with_generated(dataset: Any, trajectories: Any, **options: Any) -> Any:
            def taught(plain: Any) -> Any:
                values = np.array(dataset.arrays.numpy(trajectories))
                return plain.with_generated(plain.arrays.trajectory(values), **options)

            return derived(cls.with_generated(dataset, trajectories, **options), taught)

        def with_rollout_steps(dataset: Any, rollout_steps: int) -> Any:
            made = cls.with_rollout_steps(dataset, rollout_steps)
            return derived(made, lambda plain: plain.with_rollout_steps(rollout_steps))

        def seen_by(dataset: Any, model: Any) -> Any:
            return derived(cls.seen_by(dataset, model), lambda plain: plain.seen_by(model))

        name, methods = WATCHED[interfaces.Dataset]
        makers = {m.__name__: m for m in (with_generated, with_rollout_steps, seen_by)}
        return self._dressed(dataset, name, methods, twin, **makers)

    def _dressed(
        self,
        component: Any,
        name: str,
        methods: Mapping[str, cases.Case],
        twin: Callable[[], Any],
        **others: Any,
    ) -> Any:
        """The component as an object of a class of its own, whose methods are those of its class, compared.

        A class, since Python looks `__call__` up there alone.
        """
        self._arrays[component.mode] = (getattr(component, "model", None) or component).arrays
        cls: Any = type(component)
        watched = {m: self._watched(getattr(cls, m), name, m, case, twin) for m, case in methods.items()}
        facts = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        component.__class__ = type(cls)(cls.__name__, (cls,), {**facts, **watched, **others})
        return component

    def _watched(
        self, original: Callable[..., Any], name: str, call: str, case: cases.Case, twin: Callable[[], Any]
    ) -> Callable[..., Any]:
        shown = call.strip("_")

        @functools.wraps(original)
        def method(component: Any, *arguments: Any, **options: Any) -> Any:
            def control() -> Any:
                return original(component, *arguments, **options)

            def begin() -> _Trial:
                given = case.given(component, *arguments, **options)
                return _Trial(case, component, twin, given, self._slopes)

            if any(arrays.tracing for arrays in self._arrays.values()):
                return control()
            return self.recorder.run(name, shown, component.mode, control, begin)

        return method
