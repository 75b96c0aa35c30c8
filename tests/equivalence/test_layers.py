"""Layers of networks in phiml mode against PyTorch's own, and what updates keep in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hyco.errors import ConfigError
from hyco.interfaces import Batch, LossWeights
from hyco.kernels import resampling
from hyco.kernels.layers import doubled, wrap, wrapping
from hyco.phiml import descent
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid
from hyco.testing import assert_equivalent
from tests.cases import layout_with_static, smooth_states
from tests.sides import SIDES, arrays_of, implementation

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
GRID = Grid.of(x=(4.0, 8), y=(3.0, 12))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Values that ask for a gradient."""
    values = np.random.default_rng(seed).normal(size=shape)
    return torch.tensor(values, requires_grad=True)


@pytest.mark.parametrize(
    ("cells", "widths"),
    [((7,), (1,)), ((5, 6), (1, 1)), ((5, 6), (2, 0)), ((4, 5, 3), (1, 2, 1)), ((1,), (1,))],
)
def test_wrapping_is_circular_padding(cells: tuple[int, ...], widths: tuple[int, ...]) -> None:
    values = random(2, 3, *cells)
    expected = functional.pad(values, [w for w in reversed(widths) for _ in range(2)], mode="circular")
    found = wrap(values, widths)
    assert torch.equal(expected, found)
    given = random(*expected.shape, seed=1).detach()
    by_values = [torch.autograd.grad(out, values, given)[0] for out in (expected, found)]
    assert_equivalent(*(g.numpy() for g in by_values), "weight gradient")


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_periodic_convolutions_are_pytorchs(rank: int, bias: bool) -> None:
    options = {"padding": 1, "padding_mode": "circular", "bias": bias, "dtype": torch.float64}
    torch.manual_seed(rank)
    plain = CONVOLUTIONS[rank - 1](3, 4, 3, **options)
    ours = CONVOLUTIONS[rank - 1](3, 4, 3, **options)
    ours.load_state_dict(plain.state_dict())
    assert wrapping(ours) is ours
    assert list(ours.state_dict()) == list(plain.state_dict())
    values = random(2, 3, *(6, 5, 4)[:rank])
    given = random(2, 4, *(6, 5, 4)[:rank], seed=1).detach()
    found = []
    for module in (plain, ours):
        out = module(values)
        gradients = torch.autograd.grad(out, [values, *module.parameters()], given)
        found.append({str(n): g.numpy() for n, g in enumerate([out.detach(), *gradients])})
    assert np.array_equal(found[0]["0"], found[1]["0"])
    assert_equivalent(*found, "weight gradient")


def test_other_convolutions_stay_as_they_are() -> None:
    network = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 1, padding_mode="circular"))
    wrapping(network)
    assert not any("forward" in vars(module) for module in network)


class Doubled(nn.Conv2d):
    """A layer of a user, which computes something else."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2.0 * super().forward(input)


@pytest.mark.parametrize("padding", [1, "same", "valid"])
@pytest.mark.parametrize("layer", [nn.Conv2d, Doubled])
def test_whatever_a_circular_convolution_is_it_computes_the_same(
    layer: type[nn.Conv2d], padding: int | str
) -> None:
    torch.manual_seed(0)
    module = layer(3, 4, 3, padding=padding, padding_mode="circular", dtype=torch.float64)
    values = random(2, 3, 6, 5).detach()
    expected = module(values)
    assert torch.equal(wrapping(module)(values), expected)


@pytest.mark.parametrize("cells", [(2, 2), (6, 10), (33, 4), (1, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_doubling_is_linear_interpolation_in_a_periodic_box(
    cells: tuple[int, int], dtype: torch.dtype
) -> None:
    values = random(2, 3, *cells).detach().to(dtype).requires_grad_()
    upsample = nn.Upsample(scale_factor=2, mode="bilinear")
    expected = upsample(functional.pad(values, (1, 1, 1, 1), mode="circular"))[:, :, 2:-2, 2:-2]
    found = doubled(values, upsample)
    given = random(*expected.shape, seed=1).detach().to(dtype)
    both = (
        {"values": out.detach().numpy(), "gradient": torch.autograd.grad(out, values, given)[0].numpy()}
        for out in (expected, found)
    )
    assert_equivalent(*both, "weight gradient")


def test_doubling_in_other_boxes_is_pytorchs() -> None:
    for rank, mode in ((1, "linear"), (3, "trilinear")):
        values = random(2, 3, *(6, 5, 4)[:rank])
        upsample = nn.Upsample(scale_factor=2, mode=mode)
        wide = upsample(functional.pad(values, (1, 1) * rank, mode="circular"))
        assert torch.equal(doubled(values, upsample), wide[(..., *(slice(2, -2),) * rank)])


@pytest.mark.parametrize("special", [None, float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_halving_takes_the_first_of_the_greatest(dtype: torch.dtype, special: float | None) -> None:
    """Of few different values, so that many are equal."""
    values = (4 * random(2, 3, 12, 34).detach()).round()
    if special is not None:
        values[random(2, 3, 12, 34, seed=2) < 0.1] = special
    values = values.to(dtype).requires_grad_()
    pool = wrapping(nn.MaxPool2d(2))
    assert "forward" in vars(pool)
    expected, found = functional.max_pool2d(values, 2), pool(values)
    assert torch.equal(expected.nan_to_num(-1.0), found.nan_to_num(-1.0))
    given = random(*expected.shape, seed=1).detach().to(dtype)
    assert torch.equal(*(torch.autograd.grad(out, values, given)[0] for out in (expected, found)))


def test_other_pools_stay_as_they_are() -> None:
    for other in (nn.MaxPool2d(3), nn.MaxPool2d(2, stride=1), nn.MaxPool2d(2, padding=1), nn.MaxPool1d(2)):
        assert "forward" not in vars(wrapping(other))
    odd = random(1, 1, 5, 7)
    assert torch.equal(wrapping(nn.MaxPool2d(2))(odd), functional.max_pool2d(odd, 2))


def test_threads_change_no_bit_of_what_is_resampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "TOGETHER", 20)
    values = np.random.default_rng(0).random((7, 6, 4))
    made = []
    for threads in (1, 2):
        most, places = resampling.maxima(values, threads=threads)
        wide = resampling.double(values, threads=threads)
        back = resampling.back_to_maxima(most, places, threads=threads)
        made.append((most, places, wide, back, resampling.undo_double(wide, threads=threads)))
    assert all(np.array_equal(a, b) for a, b in zip(*made, strict=True))


@contextmanager
def kept() -> Iterator[dict[int, int]]:
    """The bytes that differentiation keeps inside, by where they lie: what is kept twice counts once."""
    found: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield found


def test_periodic_convolutions_keep_no_padded_values() -> None:
    bytes_kept = []
    for module in (nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular") for _ in range(2)):
        network = wrapping(module) if bytes_kept else module
        values = torch.ones(2, 8, 16, 16, requires_grad=True)
        with kept() as found:
            network(values)
            bytes_kept.append(sum(size for place, size in found.items() if place != values.data_ptr()))
    assert bytes_kept[1] == 8 * 8 * 9 * 4 < bytes_kept[0] - 2 * 8 * 18 * 18 * 4 + 1


# ------------------------------------------------------------------------------------------------- updates


def trainer(side: str, layout: FieldLayout, *, batch_norm: bool = False, **options: Any) -> Any:
    """A surrogate's trainer around a small U-Net."""
    architecture = {"levels": 2, "filters": 3, "batch_norm": batch_norm}
    model = implementation(side, "synthetic_model", "unet")(
        layout, GRID, architecture=architecture, seed=5, device="cpu", precision="float64"
    )
    return implementation(side, "synthetic_trainer")(model, **options)


def windows(side: str, layout: FieldLayout, frames: int, *, observed: bool = False) -> Batch:
    """Five windows, two of them generated."""
    arrays = arrays_of(side, layout, "float64")
    states = [smooth_states(layout, GRID, 5, seed=n) for n in range(frames)]
    mask = np.random.default_rng(0).random((5, frames - 1, *GRID.resolution)) < 0.5 if observed else None
    initial, targets = arrays.state(states[0]), arrays.trajectory(np.stack(states[1:], axis=2))
    return Batch(initial, targets, 5, 2, mask)


def count(network: nn.Module, calls: list[int]) -> None:
    """Note how many windows a network sees at once."""
    network.register_forward_pre_hook(lambda _, given: calls.append(len(given[0])))


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("interaction", [1.0, 0.25])
def test_updates_in_parts_are_updates(
    observed: bool, interaction: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = layout_with_static(GRID.axes)
    weights = LossWeights(interaction=interaction)
    found = []
    for cells in (1 << 15, 2 * GRID.cells, 1):
        monkeypatch.setattr(descent, "CELLS_AT_ONCE", cells)
        learner, calls = trainer("phiml", layout), []
        count(learner.model.network, calls)
        loss = learner.update(windows("phiml", layout, 3, observed=observed), weights)
        assert calls == {1 << 15: [5, 5], 2 * GRID.cells: [2, 2, 2, 2, 1, 1], 1: [1] * 10}[cells]
        found.append({"loss": np.array(float(loss)), **learner.gradients()})
    legacy = trainer("legacy", layout)
    loss = legacy.update(windows("legacy", layout, 3, observed=observed), weights)
    for other in (*found[1:], {"loss": np.array(float(loss)), **legacy.gradients()}):
        assert_equivalent(found[0], other, "weight gradient")


def test_normalised_networks_see_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descent, "CELLS_AT_ONCE", 1)
    layout = layout_with_static(GRID.axes)
    learner, calls = trainer("phiml", layout, batch_norm=True), []
    count(learner.model.network, calls)
    learner.update(windows("phiml", layout, 2))
    assert calls == [5]


@pytest.mark.parametrize("side", SIDES)
def test_recomputation_changes_no_bit_and_keeps_states_alone(side: str) -> None:
    """What is kept for twelve steps is hardly more than for four; without it, about three times as much."""
    layout = layout_with_static(GRID.axes)
    sizes: dict[tuple[bool, int], int] = {}
    gradients = []
    for recompute in (False, True):
        for steps in (4, 12):
            learner = trainer(side, layout, recompute=recompute)
            with kept() as found:
                learner.update(windows(side, layout, steps + 1))
            sizes[recompute, steps] = sum(found.values())
            gradients.append(learner.gradients())
    for plain, again in zip(gradients[:2], gradients[2:], strict=True):
        assert all(np.array_equal(g, again[name]) for name, g in plain.items())
    assert sizes[False, 12] > 2.5 * sizes[False, 4]
    states = 12 * windows(side, layout, 2).size * 4 * GRID.cells * 8
    assert sizes[True, 12] < 6 * states < sizes[False, 12]


@pytest.mark.parametrize("side", SIDES)
def test_recomputation_keeps_the_precision_of_the_network(side: str) -> None:
    layout = layout_with_static(GRID.axes)
    model = implementation(side, "synthetic_model", "unet")(
        layout, GRID, architecture={"levels": 2, "filters": 3}, seed=5, device="cpu", precision="float32"
    )
    plain, again = (
        implementation(side, "synthetic_trainer")(model, amp="bf16", recompute=recompute)
        for recompute in (False, True)
    )
    arrays = arrays_of(side, layout, "float32")
    given = windows(side, layout, 3)
    given = replace(
        given, initial=arrays.state(arrays.numpy(given.initial)), targets=arrays.place(given.targets)
    )
    start = model.weights()
    plain.update(given)
    expected = plain.gradients()
    model.assign(start)
    again.update(given)
    assert all(np.array_equal(g, again.gradients()[name]) for name, g in expected.items())


@pytest.mark.parametrize("side", SIDES)
def test_recomputation_with_running_statistics_is_refused(side: str) -> None:
    with pytest.raises(ConfigError, match=r"recompute.*batch_norm to false"):
        trainer(side, layout_with_static(GRID.axes), batch_norm=True, recompute=True)
