"""Learning rates, lengths of windows and weights of losses, as functions of the epoch or the cycle.

Epochs are counted from 0 over the whole run, warm-up and cycles included, so that no schedule begins anew
where a phase does or where a run goes on.  An epoch's place in the run is the share s in [0, 1] of it that
is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import cos, floor, pi
from typing import Any

from hyco.errors import ConfigError, did_you_mean

Schedule = Callable[[int], float]
Shape = Callable[[float], float]


def learning_rate_schedule(
    learning_rate: float, total_epochs: int, *, name: str = "cosine", **options: Any
) -> Schedule:
    """epoch -> learning rate; with lr the `learning_rate`, s = epoch / total_epochs at most 1:

        none:         lr
        cosine:       lr (final + (1 - final) (1 + cos(pi s)) / 2)
        step:         lr factor^floor(epoch / every)
        exponential:  lr factor^epoch
        one-cycle:    up from lr start to lr, along half a cosine, while s < peak; then down to lr final

    Options, with their defaults: cosine final=0; step every=10, factor=0.5; exponential factor=0.95;
    one-cycle peak=0.3, start=0.04, final=1e-4.  Raises ConfigError for another name, or an option that it
    does not have.
    Sources: Loshchilov and Hutter (2017), cosine; Smith and Topin (2019), one-cycle.
    """
    known = {
        "none": _constant,
        "cosine": _cosine,
        "step": _step,
        "exponential": _exponential,
        "one-cycle": _one_cycle,
    }
    if name not in known:
        raise ConfigError(f"scheduler: there is no schedule {name!r}. {did_you_mean(name, known)}")
    try:
        factor = known[name](max(1, total_epochs), **options)
    except TypeError as error:
        raise ConfigError(f"scheduler: the schedule {name} has no such option: {error}") from error
    return lambda epoch: learning_rate * factor(epoch)


def _constant(total: int) -> Schedule:
    return lambda epoch: 1.0


def _cosine(total: int, *, final: float = 0.0) -> Schedule:
    return lambda epoch: _between(1.0, final, min(epoch, total) / total)


def _step(total: int, *, every: int = 10, factor: float = 0.5) -> Schedule:
    return lambda epoch: factor ** (epoch // every)


def _exponential(total: int, *, factor: float = 0.95) -> Schedule:
    return lambda epoch: factor**epoch


def _one_cycle(total: int, *, peak: float = 0.3, start: float = 0.04, final: float = 1e-4) -> Schedule:
    def factor(epoch: int) -> float:
        share = min(epoch, total) / total
        if share < peak:
            return _between(start, 1.0, share / peak)
        return _between(1.0, final, (share - peak) / (1.0 - peak))

    return factor


def _between(first: float, last: float, share: float) -> float:
    """Half a cosine from `first` to `last`: last + (first - last) (1 + cos(pi share)) / 2."""
    return last + (first - last) * 0.5 * (1.0 + cos(pi * share))


def curriculum(
    total_epochs: int,
    *,
    start: int,
    end: int,
    strategy: str = "linear",
    exponent: float = 2.0,
    every: int = 1,
) -> Callable[[int], int]:
    """epoch -> frames of a training window, the initial one included.

        linear:  start + round((end - start) s)
        power:   start + round((end - start) s^exponent)
        step:    start + floor(epoch / every), at most end

    with s = epoch / (total_epochs - 1), at most 1: the first epoch has `start`, and the last one of the run
    `end` (of a single epoch, too), unless the steps of `step` do not lead so far.  Raises ConfigError for
    another strategy, and for an `end` below `start`.
    """
    if end < start:
        raise ConfigError(
            f"curriculum: windows grow from start = {start} to end = {end} frames, and the end is below the "
            "start. Raise the one or lower the other; where end is null it is trainer.rollout_steps."
        )
    if strategy == "step":
        return lambda epoch: min(end, start + epoch // every)
    shape = _shape(strategy, exponent)
    return lambda epoch: start + floor((end - start) * shape(_share(epoch, total_epochs)) + 0.5)


def ramp(cycles: int, weight: float | Mapping[str, Any]) -> Callable[[int], float]:
    """cycle, counted from 1 -> a weight: a number, or one that goes from `start` to `end` over the cycles.

        linear:  start + (end - start) s
        power:   start + (end - start) s^exponent
        step:    start while s < 1/2, then end

    with s = (cycle - 1) / (cycles - 1), at most 1: the first cycle has `start`, the last one `end` (a single
    one, too).  Raises ConfigError for another strategy.
    """
    if not isinstance(weight, Mapping):
        constant = float(weight)
        return lambda cycle: constant
    start, end = float(weight["start"]), float(weight["end"])
    strategy, exponent = weight.get("strategy", "linear"), weight.get("exponent", 2.0)
    shape: Shape = (lambda s: float(s >= 0.5)) if strategy == "step" else _shape(strategy, exponent)

    def value(cycle: int) -> float:
        share = shape(_share(cycle - 1, cycles))
        return (1.0 - share) * start + share * end  # exact at both ends

    return value


def _share(number: int, count: int) -> float:
    """How far the number, from 0 to count - 1, is on its way."""
    return max(0.0, min(1.0, number / (count - 1))) if count > 1 else 1.0


def _shape(strategy: str, exponent: float) -> Shape:
    known: dict[str, Shape] = {"linear": lambda s: s, "power": lambda s: s**exponent}
    if strategy not in known:
        raise ConfigError(f"there is no strategy {strategy!r}. {did_you_mean(strategy, [*known, 'step'])}")
    return known[strategy]
