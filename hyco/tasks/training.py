"""The training of one experiment: components from the factory, history, and states to go on from."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hyco.config import Config
from hyco.errors import ConfigError
from hyco.interfaces import Dataset, HybridTrainer, PhysicalTrainer, Record, SyntheticTrainer
from hyco.learning.memory import BEST
from hyco.migration.factory import Factory
from hyco.migration.loading import loaded
from hyco.report.wording import beside, judged, line, losses
from hyco.storage.hdf5 import read_facts, simulation_path
from hyco.storage.parameter_history import NAME, ParameterHistory
from hyco.storage.run_directory import RunDirectory
from hyco.storage.sources import open_source
from hyco.tasks.interrupts import Stops
from hyco.tasks.progress import FILE_ONLY, Progress
from hyco.tasks.resuming import Resumption, check_data, restore
from hyco.tasks.saving import Saver, Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from hyco.migration.shadow import Shadow
    from hyco.tracking import Tracker

log = logging.getLogger("hyco.train")
NAMES = {"synthetic": "surrogate epochs", "physical": "physical solves"}


@dataclass
class Training:
    """Trains what `general.mode` asks for, and saves the state of it as `checkpoint` says.

    `<model>_best` is the model when it was never better.  A record is in the history before a state counts
    it, so that none is missing from what goes on.  Between the last solve of a cycle and the record of the
    cycle there is no state to go on from.

    Attributes: stops, asked after every update, iteration and record; saved, the state that a run can go on
    from, None before there is one.
    """

    config: Config
    directory: RunDirectory
    progress: Progress
    shadow: Shadow | None = None
    stops: Stops = field(default_factory=Stops)
    tracker: Tracker | None = None
    trainers: dict[str, Trainer] = field(default_factory=dict)
    _saver: Saver | None = None
    _closing: bool = False
    _batch: int = 0
    _batches: int = 0

    def __post_init__(self) -> None:
        self._parameters = ParameterHistory(self.directory.path / NAME)
        self._best: dict[str, float | None] = {}

    @property
    def saved(self) -> Path | None:
        """The state that was saved, or gone on from, last."""
        return self._saver.path if self._saver else None

    def run(self, resumption: Resumption | None = None, *, force: bool = False) -> None:
        """Train from the start, or go on; `force`: on other data than before, too."""
        if resumption is not None and resumption.finished:
            path = resumption.generations[0].path
            log.info("the training is finished (%s); there is nothing to go on with", path)
            return
        factory = Factory(self.config, self._observe, self._iteration, self._pulse, self.shadow)
        train, validation = self._datasets(factory)
        hybrid = self._build(factory)
        saver = Saver(self.config, self.directory, self.trainers, hybrid, self._data(), self.stops.saved)
        with self.stops.patiently():
            if resumption is not None:
                self._restore(saver, resumption, force)
            else:
                saver.save("begun", alone=True)
                self._forget_best()
                self.directory.write_history([])
                self._parameters.clear()
                self._note_parameters()
            self._saver = saver
            self._show()
            loaded()
            self._fit(factory, hybrid, train, validation)
            saver.save("finished", finished=True)

    def _fit(
        self, factory: Factory, hybrid: HybridTrainer | None, train: Dataset, validation: Dataset | None
    ) -> None:
        def adapted(side: Any) -> list[Dataset]:
            return [factory.adapt(d, side) for d in (train, validation) if d is not None]

        if hybrid is not None:
            hybrid.fit(*adapted(hybrid.mode), cycles=self.config.trainer.hybrid.cycles)
            return
        for name, trainer in self.trainers.items():
            data = [
                d.seen_by("synthetic" if name == "synthetic" else "physical") for d in adapted(trainer.mode)
            ]
            trainer.fit(*data, epochs=max(0, self._total(name) - trainer.epochs_done))

    def _datasets(self, factory: Factory) -> tuple[Dataset, Dataset | None]:
        settings = self.config.trainer
        if not settings.train_sim:
            raise ConfigError(
                "trainer.train_sim: training needs at least one simulation, but the list is empty."
            )
        manager = factory.data_manager()
        manager.prepare([*settings.train_sim, *settings.val_sim])
        train = factory.dataset(manager, settings.train_sim)
        validation = factory.dataset(manager, settings.val_sim) if settings.val_sim else None
        log.info("%d windows to train on, %d to validate on", len(train), len(validation or ()))
        self._batches = -(-len(train) // settings.batch_size)
        return train, validation

    def _data(self) -> dict[str, str]:
        """What the trajectories of the training say they were made from."""
        settings, folder = self.config.trainer, self.config.data.data_dir
        used = sorted({*settings.train_sim, *settings.val_sim})
        source = open_source(self.config)
        if source is not None:
            return {str(s): source.fingerprint(s) for s in used}
        return {str(s): read_facts(simulation_path(folder, s)).fingerprint for s in used}

    def _build(self, factory: Factory) -> HybridTrainer | None:
        mode = self.config.general.mode
        if mode != "physical":
            self.trainers["synthetic"] = factory.synthetic_trainer(factory.synthetic_model())
        if mode != "synthetic":
            model = factory.physical_model(self.config.initial_parameters())
            self.trainers["physical"] = factory.physical_trainer(model)
        if mode != "hybrid":
            return None
        synthetic, physical = self.trainers["synthetic"], self.trainers["physical"]
        assert isinstance(synthetic, SyntheticTrainer)
        assert isinstance(physical, PhysicalTrainer)
        return factory.hybrid_trainer(synthetic, physical)

    def _restore(self, saver: Saver, resumption: Resumption, force: bool) -> None:
        generation = restore(saver, resumption)
        check_data(generation, saver.data, force=force)
        self.directory.write_history(self.directory.read_history()[: generation.records])
        self._put_best()
        if "physical" in self.trainers:
            self._parameters.cut(self.trainers["physical"].epochs_done)
        done = [f"{NAMES[name]} {trainer.epochs_done}" for name, trainer in self.trainers.items()]
        log.info("resuming from %s: %s", generation.path, ", ".join(done))

    # -------------------------------------------------------------------- what the trainers call meanwhile

    def _observe(self, record: Record) -> None:
        if record["kind"] == "epoch":
            record.update(self._place(record["model"], record["epoch"]))
            self._note_parameters(record["model"])
        self.directory.record(record)
        self._track(record)
        self._keep_best(record)
        assert self._saver
        self._saver.count(record)
        self._closing = self._closes(record)
        if not self._closing:
            self._saver.save_if_due()
        if record.get("model") == "synthetic":
            self._batches, self._batch = self._batch or self._batches, 0
        self._show(record)
        log.info(line(record), extra=FILE_ONLY)
        if record.get("status") == "diverged":
            log.warning("physical solve %d diverged; the parameters before it stay", record["epoch"])
        self._stop_if_asked()

    def _pulse(self) -> None:
        """After an update of the surrogate."""
        assert self._saver
        self._saver.changed = True
        self._batch += 1
        self.progress.update("batches", self._batch, max(self._batch, self._batches))
        self._saver.save_if_due()
        self._stop_if_asked()

    def _iteration(self, iteration: int, loss: float) -> None:
        """Within a physical solve, which goes on from its start: what is saved is the state before it."""
        assert self._saver
        text = f"loss {loss:.2e}, step {iteration}"
        self.progress.update("iterations", iteration, self.config.trainer.physical.solve.max_iterations)
        self.progress.detail(NAMES["physical"], text)
        self._saver.save_if_due()
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        """Save and stop, when that was asked for and there is a state to go on from."""
        assert self._saver
        if self.stops.due() and not self._closing:
            self._saver.save(str(self.stops.asked))
            self.stops.check()

    def _track(self, record: Record) -> None:
        """Write the record where it is followed, too, and with a cycle's or a fit's the parameters."""
        if self.tracker is None or not self.tracker.on:
            return
        self.tracker.record(record)
        fitted = self.trainers.get("physical")
        alone = self.config.general.mode == "physical"
        if fitted is not None and (record["kind"] == "cycle" or alone):
            model: Any = fitted.model
            values = {p: model.arrays.numpy(model.parameters[p]) for p in self.config.learnable}
            self.tracker.parameters(fitted.epochs_done, values, self.config.true_parameters())

    def _closes(self, record: Record) -> bool:
        """Whether only the record of the cycle is missing now."""
        last = record.get("model") == "physical" and record["epoch"] % self._per_turn("physical") == 0
        return bool(last and record["phase"] == "cycle")

    def _keep_best(self, record: Record) -> None:
        if record.get("best"):
            self._save_best(record["model"])

    def _save_best(self, name: str) -> None:
        model = self.trainers[name].model
        model.save(self.directory.checkpoints / f"{name}_best{model.suffix}")

    def _put_best(self) -> None:
        """Make `<model>_best` what the state knows: the file may be of the other mode, or of a later time."""
        for name, trainer in self.trainers.items():
            state = trainer.state()
            if any(key.startswith(BEST) for key in state.arrays):
                trainer.use_best()
                self._save_best(name)
                trainer.restore(state)

    def _forget_best(self) -> None:
        """Remove what an earlier training left: nobody shall take it for the best of this one."""
        for name in self.trainers:
            for path in self.directory.checkpoints.glob(f"{name}_best.*"):
                path.unlink()

    def _note_parameters(self, name: str = "physical") -> None:
        """Keep what the parameters are now, for the report."""
        if name == "physical" and name in self.trainers:
            trainer = self.trainers[name]
            model: Any = trainer.model
            values = {p: model.arrays.numpy(model.parameters[p]) for p in self.config.learnable}
            self._parameters.append(trainer.epochs_done, values)

    # -------------------------------------------------------------------------------- how far the work is

    def _place(self, name: str, epoch: int) -> dict[str, Any]:
        """The phase and cycle that an epoch, counted over the whole run, belongs to."""
        if self.config.general.mode != "hybrid":
            return {"phase": "training", "cycle": 0}
        cycle = (epoch - 1) // self._per_turn(name) - self.config.trainer.hybrid.warmup + 1
        return {"phase": "cycle" if cycle > 0 else "warmup", "cycle": max(0, cycle)}

    def _per_turn(self, name: str) -> int:
        settings = self.config.trainer
        return settings.synthetic.epochs if name == "synthetic" else settings.physical.epochs

    def _turns(self) -> int:
        hybrid = self.config.trainer.hybrid
        return hybrid.warmup + hybrid.cycles if self.config.general.mode == "hybrid" else 1

    def _total(self, name: str) -> int:
        return self._turns() * self._per_turn(name)

    def _following(self, record: Record) -> str | None:
        """The model that learns after this record, where that is another one or a new round."""
        if self.config.general.mode != "hybrid":
            return None
        if record.get("model") == "synthetic":
            over = self.trainers["synthetic"].epochs_done % self._per_turn("synthetic") == 0
            return "physical" if over else None
        last = record["kind"] == "epoch" and record["epoch"] % self._per_turn("physical") == 0
        over = record["kind"] == "cycle" or (last and record["phase"] == "warmup")
        more = self.trainers["synthetic"].epochs_done < self._total("synthetic")
        return "synthetic" if over and more else None

    def _show(self, record: Record | None = None) -> None:
        """Tell how far the work is: all of it at the start, later what a record is about."""
        text = "" if record is None else losses(record)
        if record is not None and record["kind"] == "epoch":
            if record["best"]:
                self._best[record["model"]] = judged(record)
            text = beside(record, self._best.get(record["model"]))
        if self.config.general.mode == "hybrid":
            done = min(t.epochs_done // self._per_turn(name) for name, t in self.trainers.items())
            ended = text if record is not None and record["kind"] == "cycle" else ""
            self.progress.update("rounds", done - self._closing, self._turns(), ended)
        names = self.trainers if record is None else [record["model"]] if "model" in record else []
        for name in names:
            per, epochs = self._per_turn(name), self.trainers[name].epochs_done
            self.progress.update(NAMES[name], (epochs - 1) % per + 1 if epochs else 0, per, text)
        if record is not None:
            self.progress.record(record)
            following = self._following(record)
            if following is not None:  # its bar shall not show the round before meanwhile
                self.progress.update(NAMES[following], 0, self._per_turn(following))
