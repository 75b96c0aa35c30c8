"""Random streams, initial conditions and initial weights, which both modes take from numpy."""

from __future__ import annotations

import numpy as np
import pytest

from hyco.problem.grid import Grid
from hyco.problem.sampling import PURPOSES, initial_weights, smooth_random_field, stream, with_noise


def test_the_same_stream_gives_the_same_numbers() -> None:
    assert np.array_equal(stream(3, "weights").random(9), stream(3, "weights").random(9))


def test_seed_purpose_and_index_all_make_another_stream() -> None:
    streams = [(0, p) for p in PURPOSES] + [
        (1, "batches"),
        (0, "batches", 0),
        (0, "batches", 1),
        (0, "batches", 1, 0),
    ]
    first = [tuple(stream(*key).integers(0, 1 << 60, 3)) for key in streams]
    assert len(set(first)) == len(streams)


def test_an_unknown_purpose_is_refused() -> None:
    with pytest.raises(ValueError, match="no random stream serves 'lottery'; expected one of simulations, "):
        stream(0, "lottery")


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_random_fields_have_no_mean_unit_size_and_few_waves(rank: int) -> None:
    grid = Grid.of(**{a: (s, n) for a, s, n in [("x", 3.0, 16), ("y", 5.0, 12), ("z", 2.0, 10)][:rank]})
    fields = smooth_random_field(grid, (3, 2), np.random.default_rng(0), modes=2)
    space = tuple(range(2, 2 + rank))
    assert fields.shape == (3, 2, *grid.resolution)
    assert np.abs(fields.mean(space)).max() < 1e-14
    assert np.abs((fields**2).mean(space) - 1.0).max() < 1e-13
    spectrum = np.abs(np.fft.fftn(fields, axes=space))
    waves = np.meshgrid(*(np.abs(np.fft.fftfreq(n, 1 / n)) for n in grid.resolution), indexing="ij")
    high = np.max(waves, axis=0) > 2
    assert spectrum[..., high].max() < 1e-12 * spectrum.max()
    assert spectrum[..., ~high].max() > 0.1 * grid.cells


def test_random_fields_are_all_different_and_follow_the_generator() -> None:
    grid = Grid.of(x=(1.0, 8))
    a, b = (smooth_random_field(grid, (4,), np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(a, b)
    assert len({row.tobytes() for row in a}) == 4


def test_noise_is_as_large_as_it_is_told_in_every_component() -> None:
    rng = np.random.default_rng(5)
    sizes = np.array([2.0, 7.0, 0.03]).reshape(3, 1, 1)
    states = sizes * rng.standard_normal((9, 3, 40, 30)) + sizes
    states[3:] *= 0.1  # the noise is as large in calm states as in wild ones
    before = states.copy()
    noise = with_noise(states, (0, 2), 0.1, np.random.default_rng(0)) - states
    assert np.array_equal(states, before)
    assert np.all(noise[:, 1] == 0.0)
    for component in (0, 2):
        rms = np.sqrt(np.mean(states[:, component] ** 2))
        for state in range(9):
            assert noise[state, component].std() == pytest.approx(0.1 * rms, rel=0.1)
        assert abs(noise[:, component].mean()) < 0.002 * rms
    drawn = noise[:, [0, 2]].reshape(18, -1)
    assert np.abs(np.corrcoef(drawn) - np.eye(18)).max() < 0.15  # each state of each component has its own


def test_noise_follows_the_generator_and_not_how_the_states_are_stored() -> None:
    """To the last bit, so that both modes disturb alike whatever order of dims they store."""
    rng = np.random.default_rng(5)
    for seed in range(20):
        states = rng.standard_normal((5, 3, 24, 17)).astype(np.float32)
        first = with_noise(states, (0, 2), 0.1, np.random.default_rng(seed))
        again = with_noise(np.asfortranarray(states), (0, 2), 0.1, np.random.default_rng(seed))
        other = with_noise(states, (0, 2), 0.1, np.random.default_rng(seed + 1))
        assert first.dtype == np.float64
        assert np.array_equal(first, again)
        assert np.abs(first - other).max() > 0.01


SHAPES = {
    "inc.0.weight": (64, 32, 3, 3),
    "inc.0.bias": (64,),
    "inc.1.weight": (64,),
    "inc.1.bias": (64,),
    "outc.weight": (2, 64, 1, 1),
    "outc.bias": (2,),
}


def test_convolutions_are_uniform_within_one_over_the_root_of_their_inputs() -> None:
    weights = initial_weights(SHAPES, np.random.default_rng(0))
    bound = 1 / np.sqrt(32 * 9)
    assert {name: w.shape for name, w in weights.items()} == SHAPES
    assert 0.999 * bound < np.abs(weights["inc.0.weight"]).max() <= bound
    assert abs(weights["inc.0.weight"].std() * np.sqrt(3) / bound - 1) < 0.01
    assert 0.8 * bound < np.abs(weights["inc.0.bias"]).max() <= bound
    assert np.abs(weights["outc.weight"]).max() <= 1 / 8


def test_normalisation_starts_as_the_identity() -> None:
    weights = initial_weights(SHAPES, np.random.default_rng(0))
    assert np.all(weights["inc.1.weight"] == 1.0)
    assert np.all(weights["inc.1.bias"] == 0.0)


def test_pytorch_draws_its_convolutions_from_the_same_distribution() -> None:
    import torch

    torch.manual_seed(0)
    layer = torch.nn.Conv2d(32, 64, 3)
    ours = initial_weights({"weight.weight": (64, 32, 3, 3)}, np.random.default_rng(0))["weight.weight"]
    theirs = layer.weight.detach().numpy()
    levels = np.linspace(0.01, 0.99, 33)
    spread = np.quantile(theirs, 0.99)
    assert np.abs(np.quantile(ours, levels) - np.quantile(theirs, levels)).max() < 0.03 * spread
