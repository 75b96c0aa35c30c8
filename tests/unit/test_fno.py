"""What is peculiar to the Fourier neural operator: which waves it keeps, and what it does with them."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hyco.config.architectures import ARCHITECTURES
from hyco.errors import ConfigError
from hyco.interfaces import Batch
from hyco.problem.fields import FieldLayout, FieldSpec
from hyco.problem.fourier import Spectrum, fno_modes, fno_padding
from hyco.problem.grid import Grid
from hyco.problem.sampling import initial_weights
from hyco.testing import assert_equivalent
from tests.sides import box, implementation, scope

# one axis and more, odd and even ones, with few waves and with all of them
KEPT = [
    ((8,), (3,)),
    ((8,), (5,)),
    ((7,), (4,)),
    ((7, 10), (2, 3)),
    ((8, 9), (5, 5)),
    ((9, 8), (5, 5)),
    ((6, 10), (4, 1)),
    ((5, 6, 8), (2, 3, 4)),
    ((6, 5, 7), (4, 3, 4)),
    ((4, 6, 4), (3, 4, 3)),
]
kept = pytest.mark.parametrize(("cells", "modes"), KEPT, ids=str)
BATCH = 2


def fno(side: str, grid: Grid, precision: str = "float64", **architecture: Any) -> Any:
    """A small operator of one vector field, with weights that it did not draw."""
    layout = FieldLayout((FieldSpec("velocity", vector=True),), grid.axes)
    architecture = {"layers": 2, "filters": 3, "activation": "tanh", **architecture}
    model = implementation(side, "synthetic_model", "fno")(
        layout, grid, architecture=architecture, device="cpu", precision=precision, seed=3
    )
    rng = np.random.default_rng(5)
    model.assign({n: rng.standard_normal(w.shape).astype(w.dtype) for n, w in model.weights().items()})
    return model


def rough_states(model: Any, rng: np.random.Generator) -> NDArray[np.float64]:
    """States that hold every wave of the grid."""
    return rng.standard_normal((BATCH, len(model.layout.components), *model.grid.resolution))


def spectral(model: Any, values: NDArray[Any]) -> NDArray[Any]:
    """The first Fourier layer's convolution."""
    with scope(model.arrays), torch.no_grad():
        return np.asarray(model.network.spectral0(torch.tensor(values)).numpy())


def reference(values: NDArray[Any], weight: NDArray[Any], modes: tuple[int, ...]) -> NDArray[Any]:
    """The same one wave after the other, by numpy's transforms for real fields."""
    cells, space = values.shape[2:], tuple(range(2, values.ndim))
    waves = np.fft.rfftn(values, axes=space)
    mapped = np.zeros((len(values), weight.shape[1], *waves.shape[2:]), dtype=complex)
    signed = [sorted({k % n for k in range(1 - m, m)}) for m, n in zip(modes, cells, strict=True)]
    signed[-1] = list(range(modes[-1]))
    for wave in product(*signed):
        where = tuple(signed[i].index(k) for i, k in enumerate(wave))
        real, imaginary = (weight[(slice(None), slice(None), *where, part)] for part in (0, 1))
        here = (slice(None), slice(None), *wave)
        mapped[here] = waves[here] @ (real + 1j * imaginary)
    return np.fft.irfftn(mapped, s=cells, axes=space)


def pointwise(values: NDArray[Any], weights: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """A convolution of one cell."""
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return np.einsum("oi,bi...->bo...", weight.reshape(weight.shape[:2]), values) + bias.reshape(
        -1, *(1,) * (values.ndim - 2)
    )


@kept
def test_a_spectral_convolution_is_that_of_numpy(
    side: str, cells: tuple[int, ...], modes: tuple[int, ...], precision: str, rng: np.random.Generator
) -> None:
    model = fno(side, box(*cells), precision, modes=modes)
    values = rng.standard_normal((BATCH, 3, *cells)).astype(precision)
    weight = model.weights()["spectral0.weight"]
    assert weight.shape == (3, 3, *Spectrum(cells, modes).shape, 2)
    expected = reference(values, weight, modes).astype(precision)
    assert_equivalent(expected, spectral(model, values), "spectral convolution")


@kept
def test_the_matrices_of_a_spectrum_are_the_fast_transforms(
    cells: tuple[int, ...], modes: tuple[int, ...], rng: np.random.Generator
) -> None:
    spectrum = Spectrum(cells, modes)
    for axis, n in enumerate(cells[:-1]):
        waves = np.r_[: modes[axis], -spectrum.negative[axis] : 0]
        values = rng.standard_normal((3, n)) + 1j * rng.standard_normal((3, n))
        pairs = np.einsum("bnp,npkq->bkq", _pairs(values), spectrum.analysis(axis))
        assert_equivalent(_pairs(np.fft.fft(values)[:, waves]), pairs, "spectral convolution")
        spread = np.zeros((3, n), dtype=complex)
        spread[:, waves] = pairs[..., 0] + 1j * pairs[..., 1]
        back = np.einsum("bkp,kpnq->bnq", pairs, spectrum.synthesis(axis))
        assert_equivalent(_pairs(np.fft.ifft(spread)), back, "spectral convolution")


def _pairs(values: NDArray[Any]) -> NDArray[Any]:
    return np.stack([values.real, values.imag], axis=-1)


def test_all_waves_are_counted_once() -> None:
    assert Spectrum((8, 9, 8), (5, 5, 5)).shape == (8, 9, 5)
    assert Spectrum((8, 9, 8), (4, 4, 4)).shape == (7, 7, 4)
    assert Spectrum((8,), (5,)).copies.tolist() == [1, 2, 2, 2, 1]
    assert Spectrum((9,), (5,)).copies.tolist() == [1, 2, 2, 2, 2]


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(("cells", "modes"), [((9,), 5), ((8, 9), (5, 3)), ((4, 5, 9), (2, 3, 4))], ids=str)
def test_the_whole_network_is_that_of_numpy(
    side: str, cells: tuple[int, ...], modes: int | tuple[int, ...], periodic: bool, rng: np.random.Generator
) -> None:
    model = fno(side, box(*cells), modes=modes, periodic=periodic)
    states, weights = rough_states(model, rng), model.weights()
    x = states
    if not periodic:
        shares = np.stack(np.meshgrid(*((np.arange(n) + 0.5) / n for n in cells), indexing="ij"))
        x = np.concatenate([x, np.repeat(shares[None], BATCH, axis=0)], axis=1)
    padding = [0 if periodic else {4: 1, 5: 1, 8: 1, 9: 2}[n] for n in cells]
    x = np.pad(pointwise(x, weights, "lift"), [(0, 0), (0, 0), *((0, p) for p in padding)])
    for i in range(2):
        waves = reference(x, weights[f"spectral{i}.weight"], fno_modes(model.grid, modes))
        x = waves + pointwise(x, weights, f"pointwise{i}")
        x = np.tanh(x) if i == 0 else x
    x = x[(..., *(slice(n) for n in cells))]
    x = pointwise(np.tanh(pointwise(x, weights, "hidden")), weights, "project")
    assert_equivalent(states + x, model.predict(states, 1)[:, :, 1], "spectral convolution")


def test_every_shift_of_the_input_shifts_the_output(side: str, rng: np.random.Generator) -> None:
    model = fno(side, box(7, 8), modes=(4, 5))
    states = rough_states(model, rng)
    step = model.predict(states, 1)[:, :, 1]
    for shift in product(range(7), range(8)):
        moved = model.predict(np.roll(states, shift, (2, 3)), 1)[:, :, 1]
        assert_equivalent(np.roll(step, shift, (2, 3)), moved, "shift of a network")


def test_a_spectral_convolution_means_the_same_on_a_finer_grid(side: str) -> None:
    """The centre of every cell is the centre of the middle one of three."""
    coarse, fine = (fno(side, box(8 * n, 9 * n), modes=(3, 4)) for n in (1, 3))
    fine.assign(coarse.weights())
    on_coarse, on_fine = (
        sum(np.cos(2 * np.pi * (kx * x / 10.0 + ky * y / 7.0) + kx) for kx, ky in [(1, 2), (-2, 1), (0, 3)])
        for x, y in (m.grid.coordinates().values() for m in (coarse, fine))
    )
    found = [
        spectral(m, np.broadcast_to(u, (1, 3, *u.shape)).copy())
        for m, u in ((coarse, on_coarse), (fine, on_fine))
    ]
    assert_equivalent(found[0], found[1][..., 1::3, 1::3], "spectral convolution")


@pytest.mark.parametrize(("cells", "modes"), [((8,), 5), ((6, 7), (4, 4)), ((4, 5, 6), (3, 2, 4))], ids=str)
def test_gradients_by_spectral_weights_are_central_differences(
    side: str, cells: tuple[int, ...], modes: int | tuple[int, ...], rng: np.random.Generator
) -> None:
    """Also at the third call and later, from which on traces compute gradients in their own way."""
    model = fno(side, box(*cells), modes=modes)
    model.assign({name: 0.3 * w for name, w in model.weights().items()})
    trainer = implementation(side, "synthetic_trainer")(model, schedule=lambda epoch: 1e-30)
    arrays, targets = model.arrays, np.stack([rough_states(model, rng) for _ in range(2)], axis=2)
    batch = Batch(arrays.state(rough_states(model, rng)), arrays.trajectory(targets), BATCH)
    weights = model.weights()

    def slope(name: str, direction: NDArray[Any], h: float) -> float:
        values = {}
        for steps in (-2, -1, 1, 2):
            model.assign({**weights, name: weights[name] + steps * h * direction})
            values[steps] = float(trainer.loss(batch))
        return (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * h)

    directions = []
    for name, part in product(("spectral0.weight", "spectral1.weight"), (0, 1)):
        direction = np.zeros_like(weights[name])
        direction[..., part] = rng.standard_normal(direction.shape[:-1])
        directions.append((name, direction))
    expected = np.array([slope(name, direction, 3e-4) for name, direction in directions])
    model.assign(weights)
    for _ in range(4):
        trainer.update(batch)
        gradients = {n: p.grad.numpy() for n, p in model.network.named_parameters()}
        found = np.array([np.sum(gradients[n] * d) for n, d in directions])
        assert_equivalent(expected, found, "central differences of a network")


def test_amplitudes_without_effect_have_no_gradient(side: str, rng: np.random.Generator) -> None:
    """Adam would take a rounding error for a slope."""
    model = fno(side, box(8), modes=5)
    states = rough_states(model, rng)
    batch = Batch(model.arrays.state(states), model.arrays.trajectory(states[:, :, None]), BATCH)
    implementation(side, "synthetic_trainer")(model).update(batch)
    for i in range(2):
        gradient = model.network.get_submodule(f"spectral{i}").weight.grad.numpy()
        assert np.all(gradient[:, :, [0, 4], 1] == 0.0)
        assert np.all(gradient[:, :, 1:4] != 0.0)
        assert np.all(gradient[:, :, [0, 4], 0] != 0.0)


def test_spectral_weights_start_as_in_the_paper(rng: np.random.Generator) -> None:
    shapes = {"lift.weight": (4, 2, 1), "spectral0.weight": (4, 5, 30, 2), "pointwise0.bias": (4,)}
    weight = initial_weights(shapes, rng)["spectral0.weight"]
    assert 0.0 <= weight.min() < 0.001
    assert 0.049 < weight.max() < 1 / 20
    assert abs(weight.mean() - 1 / 40) < 0.002


def test_a_box_that_is_not_periodic_grows_by_an_eighth_and_at_least_a_cell() -> None:
    assert fno_padding(box(1, 8, 9), periodic=False) == (1, 1, 2)
    assert fno_padding(box(64, 65), periodic=False) == (8, 9)
    assert fno_padding(box(64, 65), periodic=True) == (0, 0)


def test_modes_are_those_that_the_axes_have() -> None:
    grid = box(8, 9)
    assert fno_modes(grid, 5) == fno_modes(grid, [5, 5]) == (5, 5)
    for modes, says in (
        (6, "x has 8 cells and so 1 to 5 Fourier modes, got 6"),
        ((5, 6), "y has 9 cells and so 1 to 5 Fourier modes, got 6"),
        ((0, 5), "x has 8 cells and so 1 to 5 Fourier modes, got 0"),
        ((5,), r"one number, or one per axis x, y, got \[5\]"),
    ):
        with pytest.raises(ConfigError, match=says):
            fno_modes(grid, modes)
    with pytest.raises(ConfigError, match="x has 8 cells"):
        ARCHITECTURES["fno"].model_validate({"modes": 6}).check_grid(grid)


def test_too_many_modes_are_refused_when_the_network_is_built(side: str) -> None:
    with pytest.raises(ConfigError, match="y has 10 cells and so 1 to 6 Fourier modes, got 7"):
        fno(side, box(12, 10), modes=7)
