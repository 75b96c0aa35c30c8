"""A small network of every surrogate, and what a test has to know of it beside its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


def _before(norms: set[str]) -> set[str]:
    """`block.1` normalises `block.0`, and `block.4` normalises `block.3`."""
    parts = [norm.rpartition(".") for norm in norms]
    return {f"{block}.{int(number) - 1}" for block, _, number in parts}


def _in_blocks(norms: set[str]) -> set[str]:
    """`block.bn2` normalises `block.conv2`, `block.bn_sample` normalises `block.sample_input`.

    What `bn_sample` of the first block adds, both convolutions of the second one take in and normalise.
    """
    normalised = {norm.replace("bn_sample", "sample_input").replace("bn", "conv") for norm in norms}
    return normalised | (norms & {"Res_in.bn_sample"})


def _in_fourier_layers(norms: set[str]) -> set[str]:
    """`norm0` normalises `pointwise0`, and takes in what `lift` adds to the whole box."""
    return {norm.replace("norm", "pointwise") for norm in norms} | {"lift" for norm in norms & {"norm0"}}


@dataclass(frozen=True)
class Network:
    """One surrogate, small.

    Attributes:
        architecture: its keys; every surrogate has `batch_norm`, `activation` and `periodic`, too.
        parameters: how many it has on a plane, with two inputs and two outputs.
        deeper: the same with more layers, and with fewer.
        changes: another value for every key that is not common to all.
        larger: keys that make it a network of other shapes and more entries.
        refused: keys that cannot be, on a plane of 8 x 10 cells, and what is said of them.
        shift: by how many cells an input may be moved for the output to move along.
        idle: of the names of its normalisations, the layers whose bias has no effect in training, since it
            is the same in every cell of a periodic grid, and normalised away.
    """

    architecture: Mapping[str, Any]
    parameters: int
    deeper: Sequence[Mapping[str, Any]]
    changes: Mapping[str, Any]
    larger: Mapping[str, Any]
    refused: Sequence[tuple[Mapping[str, Any], str]]
    shift: tuple[int, int, int] = (1, -5, 3)
    idle: Callable[[set[str]], set[str]] = field(default=_before)


def _in_layers(name: str, parameters: int, idle: Callable[[set[str]], set[str]]) -> Network:
    return Network(
        {"layers": 2, "filters": [3, 4]},
        parameters,
        deeper=[{"layers": n, "filters": 3} for n in (1, 2, 3)],
        changes={"layers": (2, 3), "filters": (3, 4)},
        larger={"filters": 5, "batch_norm": True},
        refused=[
            ({"layers": 3, "filters": [2, 4]}, f"a {name} of 3 layers needs 3 filter counts, got"),
            ({"layers": 1, "filters": [2, 4]}, f"a {name} of 1 layer needs 1 filter count, got"),
        ],
        idle=idle,
    )


NETWORKS: Mapping[str, Network] = {
    "unet": Network(
        {"levels": 2, "filters": [3, 4]},
        685,
        deeper=[{"levels": n, "filters": 3} for n in (1, 2, 3)],
        changes={"levels": (2, 3), "filters": (3, 4)},
        larger={"filters": 5, "batch_norm": True},
        refused=[
            ({"levels": 3, "filters": 2}, "divisible by 4, but y has 10 cells"),
            ({"levels": 2, "filters": [2]}, "2 levels needs 2 filter counts"),
        ],
        shift=(2, -4, 2),
    ),
    "resnet": _in_layers("resnet", 436, _in_blocks),
    "convnet": _in_layers("convnet", 179, _before),
    "fno": Network(
        {"layers": 2, "filters": 3, "modes": 3},
        611,
        deeper=[{"layers": n, "filters": 3, "modes": [1, 2]} for n in (1, 2, 3)],
        changes={"layers": (2, 3), "filters": (3, 4), "modes": (1, 2)},
        larger={"filters": 5, "modes": 4, "batch_norm": True},
        refused=[
            ({"modes": 6}, "x has 8 cells and so 1 to 5 Fourier modes, got 6"),
            ({"modes": [5, 7]}, "y has 10 cells and so 1 to 6 Fourier modes, got 7"),
            ({"modes": [3, 0]}, "y has 10 cells and so 1 to 6 Fourier modes, got 0"),
            ({"modes": [3]}, r"one number, or one per axis x, y, got \[3\]"),
        ],
        idle=_in_fourier_layers,
    ),
}
