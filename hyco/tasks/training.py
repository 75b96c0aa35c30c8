"""The training of one experiment: components from the factory, checkpoints and history after every epoch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyco.config import Config
from hyco.errors import CheckpointError, ConfigError
from hyco.interfaces import Dataset, PhysicalTrainer, Record, SyntheticTrainer
from hyco.migration.factory import Factory
from hyco.migration.road import conversion
from hyco.storage.run_directory import RunDirectory
from hyco.tasks.progress import FILE_ONLY, Progress

if TYPE_CHECKING:
    from hyco.migration.shadow import Shadow

log = logging.getLogger("hyco.train")
Trainer = SyntheticTrainer | PhysicalTrainer
NAMES = {"synthetic": "surrogate epochs", "physical": "physical solves"}


@dataclass
class Training:
    """Trains what `general.mode` asks for.

    After every epoch `<model>_last` holds the trainer's whole state, and `<model>_best` the model when it
    was never better; after an interruption `run(resume=True)` goes on from the former.  A record is in the
    history before the state that it belongs to is saved, so that none is missing from what goes on.  `begun`
    says whether there is a state to go on from; `check` is called between epochs and iterations.
    """

    config: Config
    directory: RunDirectory
    progress: Progress
    shadow: Shadow | None = None
    trainers: dict[str, Trainer] = field(default_factory=dict)
    begun: bool = False
    check: Callable[[], None] = lambda: None

    def run(self, *, resume: bool = False) -> None:
        """Train from the start, or go on."""
        factory = Factory(self.config, self._observe, self._iteration, self.shadow)
        train, validation = self._datasets(factory)
        self._build(factory)
        if resume:
            self._restore()
        else:
            for name in self.trainers:
                self._save(name)
            self.directory.write_history([])
        self.begun = True
        self._show()
        if self.config.general.mode == "hybrid":
            synthetic, physical = self.trainers["synthetic"], self.trainers["physical"]
            assert isinstance(synthetic, SyntheticTrainer)
            assert isinstance(physical, PhysicalTrainer)
            hybrid = factory.hybrid_trainer(synthetic, physical)
            data = factory.adapt(train, hybrid.mode), _adapted(factory, validation, hybrid.mode)
            hybrid.fit(*data, cycles=self.config.trainer.hybrid.cycles)
            return
        for name, trainer in self.trainers.items():
            data = factory.adapt(train, trainer.mode), _adapted(factory, validation, trainer.mode)
            trainer.fit(*data, epochs=max(0, self._total(name) - trainer.epochs_done))

    def last(self, name: str, trainer: Trainer) -> Path:
        """Where the state of a trainer is kept."""
        return self.directory.checkpoints / f"{name}_last{trainer.suffix}"

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
        return train, validation

    def _build(self, factory: Factory) -> None:
        mode = self.config.general.mode
        if mode != "physical":
            self.trainers["synthetic"] = factory.synthetic_trainer(factory.synthetic_model())
        if mode != "synthetic":
            model = factory.physical_model(self.config.initial_parameters())
            self.trainers["physical"] = factory.physical_trainer(model)

    def _restore(self) -> None:
        for name, trainer in self.trainers.items():
            path = self.last(name, trainer)
            if not path.exists():
                raise CheckpointError(f"{path}: nothing to resume from. {_remedy(path, trainer)}")
            trainer.load(path)
            log.info("resuming the %s model after epoch %d", name, trainer.epochs_done)
        done = {name: t.epochs_done for name, t in self.trainers.items()}
        self.directory.write_history([r for r in self.directory.read_history() if self._happened(r, done)])

    def _happened(self, record: Record, done: dict[str, int]) -> bool:
        """Whether a record of the history belongs to what the restored trainers have done."""
        if record["kind"] == "epoch":
            return bool(record["epoch"] <= done.get(record["model"], 0))
        turns = record["cycle"] + self.config.trainer.hybrid.warmup
        return all(done[name] >= turns * self._per_turn(name) for name in done)

    def _observe(self, record: Record) -> None:
        if record["kind"] == "epoch":
            record.update(self._place(record["model"], record["epoch"]))
        self.directory.record(record)
        self._keep(record)
        self._show(record)
        log.info(_line(record), extra=FILE_ONLY)
        if record.get("status") == "diverged":
            log.warning("physical solve %d diverged; the parameters before it stay", record["epoch"])
        self.check()

    def _keep(self, record: Record) -> None:
        """Save the states after a record; the last solve of a cycle counts once the cycle is on record."""
        if record["kind"] == "cycle":
            self._save("physical")
            return
        name = record["model"]
        if record["best"]:
            model = self.trainers[name].model
            model.save(self.directory.checkpoints / f"{name}_best{model.suffix}")
        last = name == "physical" and record["epoch"] % self._per_turn(name) == 0
        if not (last and record["phase"] == "cycle"):
            self._save(name)

    def _save(self, name: str) -> None:
        trainer = self.trainers[name]
        trainer.save(self.last(name, trainer))

    def _place(self, name: str, epoch: int) -> dict[str, Any]:
        """The phase and cycle that an epoch, counted over the whole run, belongs to."""
        if self.config.general.mode != "hybrid":
            return {"phase": "training", "cycle": 0}
        cycle = (epoch - 1) // self._per_turn(name) - self.config.trainer.hybrid.warmup + 1
        return {"phase": "cycle" if cycle > 0 else "warmup", "cycle": max(0, cycle)}

    def _per_turn(self, name: str) -> int:
        settings = self.config.trainer
        return settings.synthetic.epochs if name == "synthetic" else settings.physical.epochs

    def _total(self, name: str) -> int:
        hybrid = self.config.trainer.hybrid
        turns = hybrid.warmup + hybrid.cycles if self.config.general.mode == "hybrid" else 1
        return turns * self._per_turn(name)

    def _show(self, record: Record | None = None) -> None:
        """Tell how far the work is: all of it at the start, later what a record is about."""
        text = "" if record is None else _losses(record)
        if self.config.general.mode == "hybrid" and (record is None or record["kind"] == "cycle"):
            done = self._cycles_done() if record is None else record["cycle"]
            self.progress.update("cycles", done, self.config.trainer.hybrid.cycles, text)
        names = self.trainers if record is None else [record["model"]] if "model" in record else []
        for name in names:
            self.progress.update(NAMES[name], self.trainers[name].epochs_done, self._total(name), text)

    def _cycles_done(self) -> int:
        turns = min(t.epochs_done // self._per_turn(name) for name, t in self.trainers.items())
        return max(0, turns - self.config.trainer.hybrid.warmup)

    def _iteration(self, iteration: int, loss: float) -> None:
        self.progress.detail(NAMES["physical"], f"loss {loss:.2e}, step {iteration}")
        self.check()


def _remedy(path: Path, trainer: Trainer) -> str:
    """What to do where there is no checkpoint: convert that of the other mode, if there is one."""
    others = [p for p in sorted(path.parent.glob(f"{path.stem}.*")) if p.suffix != path.suffix]
    if not others:
        return "Run without --resume to start."
    return (
        f"There is one of the other mode: `{conversion(path.with_suffix(''), trainer.mode)}` makes it one of "
        "this mode."
    )


def _adapted(factory: Factory, dataset: Dataset | None, side: Any) -> Dataset | None:
    return None if dataset is None else factory.adapt(dataset, side)


def _line(record: Record) -> str:
    """A record in one line, for the log."""
    if record["kind"] == "cycle":
        return f"cycle {record['cycle']}: {_losses(record)}"
    line = f"{record['model']} epoch {record['epoch']}: {_losses(record)}"
    if record["model"] == "physical":
        line += f", {record['iterations']} iterations, {record['status']}"
    return line


def _losses(record: Record) -> str:
    """The losses of a record, short enough to stand beside a bar."""
    if record["kind"] == "cycle":
        return f"surrogate {record['synthetic_loss']:.2e}, physics {record['physical_loss']:.2e}"
    validation = record["validation_loss"]
    return f"loss {record['train_loss']:.2e}" + ("" if validation is None else f", val {validation:.2e}")
