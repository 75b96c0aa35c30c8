"""What a run goes on from: the newest state that is whole, made with settings that still hold."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hyco.config import Config
from hyco.errors import CheckpointError, InputError
from hyco.storage.generations import FACTS, Generation, read_generation
from hyco.storage.run_directory import RunDirectory
from hyco.tasks.saving import Saver, config_of

log = logging.getLogger("hyco.run")
HARMLESS = (
    "general.experiment_name",
    "general.tasks",
    "general.output_dir",
    "general.checkpoint_dir",
    "migration.",
    "data.data_dir",
    "data.cache_dir",
    "data.num_simulations",
    "data.source.path",  # what is in the files is checked apart
    "cache.",
    "trainer.device",
    "trainer.backend",
    "trainer.kernels",
    "checkpoint.",
    "tracking.",
    "evaluation.",
)
"""Settings, or blocks of them, that leave the results of a training as they are, but for rounding."""


@dataclass(frozen=True)
class Resumption:
    """The states that a run may go on from, the newest first, and what was wrong with newer ones.

    `changed`: settings that change results are others now, and `--force` said to go on.
    """

    generations: tuple[Generation, ...]
    faults: tuple[str, ...] = ()
    changed: bool = False

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.generations[0].finished and not self.changed


def find_resumption(config: Config, directory: RunDirectory, *, force: bool) -> Resumption:
    """What to go on from; differences between the settings then and now are shown.

    Raises CheckpointError when there is no state that is whole, naming all and why, and InputError when
    settings that change results are others, unless `force`.
    """
    recorded = len(directory.read_history())
    whole, faults = [], []
    paths = directory.generations.paths()
    if not paths:
        raise CheckpointError(
            f"{directory.checkpoints}: nothing to resume from. Run without --resume to start."
        )
    for path in paths:
        try:
            generation = read_generation(path)
            if recorded and not generation.facts:
                raise CheckpointError(f"{path / FACTS}: missing")
            if generation.records > recorded:
                raise CheckpointError(
                    f"{path}: it belongs to a history of {generation.records} records, and "
                    f"{directory.history_file} has {recorded}"
                )
            whole.append(generation)
        except CheckpointError as error:
            faults.append(str(error))
    if not whole:
        raise CheckpointError(none_left(faults))
    changed = _check_settings(config, whole[0], force=force)
    return Resumption(tuple(whole), tuple(faults), changed)


def restore(saver: Saver, resumption: Resumption) -> Generation:
    """Put the newest state that can be loaded in force, and say what was wrong with newer ones.

    Raises CheckpointError when none can be loaded, and when the newest one is of the other mode alone.
    """
    faults = list(resumption.faults)
    for generation in resumption.generations:
        saver.check_modes(generation)
        try:
            saver.load(generation)
        except CheckpointError as error:
            faults.append(str(error))
            continue
        for fault in faults:
            log.warning("%s; going on from %s instead", fault.rstrip("."), generation.path)
        return generation
    raise CheckpointError(none_left(faults))


def none_left(faults: list[str]) -> str:
    """That no state can be used, and why."""
    return f"no state to resume from is whole: {'; '.join(f.rstrip('.') for f in faults)}. Train again."


def _check_settings(config: Config, generation: Generation, *, force: bool) -> bool:
    """Whether settings that change results are others than those of a state, and may be."""
    before = config_of(generation)
    if before is None:
        return False
    old, new = dict(_flat(before)), dict(_flat(config.model_dump(mode="json")))
    differing = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    serious = [key for key in differing if not _is_harmless(key)]
    harmless = [key for key in differing if key not in serious and key != "general.tasks"]
    if harmless:
        log.info("other settings than before: %s", _listed(harmless, old, new))
    if serious and not force:
        raise InputError(
            f"{generation.path} was made with other settings: {_listed(serious, old, new)}. What it would "
            "lead to is the result of neither. Resume with the settings of before, start anew without "
            "--resume, or go on all the same with --force."
        )
    if serious:
        log.warning("going on with other settings (--force): %s", _listed(serious, old, new))
    return bool(serious)


def check_data(generation: Generation, data: Mapping[str, str], *, force: bool) -> None:
    """Raise InputError when a state was trained on other trajectories than those that are there now."""
    before = generation.facts.get("data", {})
    others = [f"simulation {number}" for number in data if before.get(number, data[number]) != data[number]]
    if not others:
        return
    which = ", ".join(others)
    found = f"{which} made with other settings than what {generation.path} learned from, or changed since"
    if not force:
        raise InputError(
            f"{found}. Put the data back, start anew without --resume, or go on all the same with --force."
        )
    log.warning("going on with other data (--force): %s", found)


def _is_harmless(key: str) -> bool:
    return any(key == h or (h.endswith(".") and key.startswith(h)) for h in HARMLESS)


def _listed(keys: list[str], old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """`trainer.batch_size: 4 -> 8; ...`"""
    return "; ".join(f"{key}: {_shown(old, key)} -> {_shown(new, key)}" for key in keys)


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return str(settings[key]) if key in settings else "not there"


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted key; entries of lists of blocks by their number."""
    inner: Any = ()
    if isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(entry, Mapping) for entry in value):
        inner = enumerate(value)
    if not inner:
        yield prefix, list(value) if isinstance(value, tuple) else value
    for key, entry in inner:
        yield from _flat(entry, f"{prefix}.{key}" if prefix else str(key))
