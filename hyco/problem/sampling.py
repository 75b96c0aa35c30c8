"""Everything random, drawn in numpy from named streams, so that both modes start from the same bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from hyco.problem.grid import Grid

PURPOSES = ("simulations", "weights", "batches", "cooperation", "noise", "observations")


def stream(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """The random stream of one purpose, and of one use of it: `stream(0, "batches", epoch)`.

    Streams are independent of each other and of how often another one was used, so a run that goes on
    after an interruption needs no saved generator: it asks for the stream of the epoch it is in.
    Raises ValueError for a purpose that is none of `PURPOSES`.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"no random stream serves {purpose!r}; expected one of {', '.join(PURPOSES)}.")
    key = (PURPOSES.index(purpose), *index)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def smooth_random_field(
    grid: Grid, leading: tuple[int, ...], rng: np.random.Generator, *, modes: int = 4
) -> NDArray[np.float64]:
    """Periodic random fields of unit root mean square, one per entry of the `leading` shape.

        f(x) = sum_k a_k / (1 + |k|^2) cos(2 pi k . x / size + phi_k),      0 < |k_i| <= modes

    with normal amplitudes a_k and uniform phases phi_k; k and -k are counted once and the mean is zero.
    Returns an array of shape (*leading, *grid.resolution).
    """
    waves = [k for k in product(range(-modes, modes + 1), repeat=grid.rank) if k > (0,) * grid.rank]
    coordinates = grid.coordinates()
    count = prod(leading)
    amplitudes = rng.standard_normal((count, len(waves)))
    phases = rng.uniform(0.0, 2.0 * np.pi, (count, len(waves)))
    field = np.zeros((count, *grid.resolution))
    lead = (count,) + (1,) * grid.rank
    for j, wave in enumerate(waves):
        angle = sum(
            2.0 * np.pi * k * coordinates[a] / size
            for k, a, size in zip(wave, grid.axes, grid.size, strict=True)
        )
        weight = amplitudes[:, j] / (1.0 + sum(k * k for k in wave))
        field += weight.reshape(lead) * np.cos(angle + phases[:, j].reshape(lead))
    rms = np.sqrt(np.mean(field**2, axis=tuple(range(1, field.ndim)), keepdims=True))
    return (field / rms).reshape(*leading, *grid.resolution)


def with_noise(
    states: NDArray[np.floating], components: Sequence[int], scale: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A copy of a batch of states (batch, component, *space) with Gaussian noise on some components.

        u_c <- u_c + scale rms(u_c) xi,      xi ~ N(0, 1) in every cell of every state

    where rms is the root mean square over the whole batch; the other components stay bit for bit.
    """
    noisy = np.array(states, dtype=np.float64, order="C")  # one order of summation, whatever the mode stores
    chosen = noisy[:, list(components)]
    rms = np.sqrt(np.mean(chosen**2, axis=(0, *range(2, noisy.ndim)), keepdims=True))
    noisy[:, list(components)] = chosen + scale * rms * rng.standard_normal(chosen.shape)
    return noisy


def random_cells(grid: Grid, count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """`count` different cells of a grid, all equally likely, as a mask (*space); all, if there are fewer."""
    mask = np.zeros(prod(grid.resolution), dtype=bool)
    mask[rng.choice(mask.size, min(count, mask.size), replace=False)] = True
    return mask.reshape(grid.resolution)


def initial_weights(
    shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Initial weights of a network, in PyTorch's default distributions.

    Convolutions: weight and bias uniform in +-1/sqrt(fan_in), fan_in = input channels * kernel cells.
    Normalisation layers (a `weight` of one dimension): weight 1, bias 0.  Layers called `spectral*`: real
    and imaginary parts uniform between 0 and 1 / (input channels * output channels).  Drawn in the order of
    `shapes`, a mapping from state-dict names to shapes in which a layer's weight stands before its bias.
    Sources: He et al. (2015) with a = sqrt(5), as `torch.nn.Conv2d` documents it; Li et al. (2021).
    """
    weights: dict[str, NDArray[np.float64]] = {}
    bound = 0.0
    for name, shape in shapes.items():
        if name.startswith("spectral"):
            fresh = rng.uniform(0.0, 1.0 / prod(shape[:2]), shape)
        elif name.endswith(".weight"):
            bound = 1.0 / sqrt(prod(shape[1:])) if len(shape) > 1 else 0.0
            fresh = rng.uniform(-bound, bound, shape) if bound else np.ones(shape)
        else:
            fresh = rng.uniform(-bound, bound, shape) if bound else np.zeros(shape)
        weights[name] = fresh
    return weights
