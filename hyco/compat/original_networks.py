"""Checkpoints of the original HYCO-PhiFlow: its U-Net in either mode of hyco, and its Adam state.

First age: {"epoch", "model_state_dict", "loss", "optimizer_state_dict"}, or the bare `state_dict`, names
under `net.`; second age: the bare `state_dict`.  A file says nothing of the network but names and shapes,
from which the architecture follows: its convolutions are padded with zeros, its activations are ReLUs, and
it predicts the next dynamic fields themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyco.compat.archives import read_torch
from hyco.errors import CheckpointError
from hyco.interfaces import Side, SyntheticModel, SyntheticTrainer, TrainingState
from hyco.learning.checkpoints import check_entries, prefixed
from hyco.migration.registry import resolve, use_mode
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_STATISTICS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class OriginalNetwork:
    """A U-Net of HYCO-PhiFlow.

    Attributes:
        source: the file.
        rank, inputs, outputs: axes of space, and channels.
        architecture: in the keys of `model.synthetic.architecture`; it goes with `residual: false`.
        weights: by hyco's names.
        moments: Adam's state, parameter -> {step, exp_avg, exp_avg_sq}; empty where the file has none.
        epoch, loss: when it was saved; the epoch counts from 0.
    """

    source: Path
    rank: int
    inputs: int
    outputs: int
    architecture: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]]
    moments: Mapping[str, Mapping[str, NDArray[Any]]]
    epoch: int | None = None
    loss: float | None = None

    def moments_by_index(self, parameters: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Adam's state as hyco's trainers keep it, `index.name`, the parameters being in this order."""
        return {
            f"{parameters.index(p)}.{name}": value
            for p, state in self.moments.items()
            for name, value in state.items()
        }


def read_network(path: str | Path) -> OriginalNetwork:
    """The network in a `.pth` file; raises CheckpointError, naming what does not fit, for anything else."""
    path = Path(path)
    content = read_torch(path, error=CheckpointError)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected the state of a network, found a {type(content).__name__}.")
    named = content.get("model_state_dict", content)
    if not isinstance(named, dict) or not all(isinstance(v, np.ndarray) for v in named.values()):
        raise CheckpointError(f"{path}: expected the weights of a network by name, found {_listed(content)}.")
    weights = {str(name).removeprefix("net."): np.asarray(v) for name, v in named.items()}
    facts = _architecture(path, weights)
    expected = {name: np.zeros(shape) for name, shape in _shapes(**facts)}
    check_entries(path, expected, weights)
    filters = facts["filters"]
    return OriginalNetwork(
        source=path,
        rank=facts["rank"],
        inputs=facts["inputs"],
        outputs=facts["outputs"],
        architecture={
            "levels": len(filters),
            "filters": filters[0] if len(set(filters)) == 1 else list(filters),
            "batch_norm": facts["batch_norm"],
            "activation": "relu",
            "periodic": False,
        },
        weights={name: weights[name] for name in expected},
        moments=_moments(path, content, weights),
        epoch=int(content["epoch"]) if "epoch" in content else None,
        loss=float(content["loss"]) if "loss" in content else None,
    )


def build_network(
    original: OriginalNetwork,
    grid: Grid,
    layout: FieldLayout,
    side: Side,
    *,
    device: str = "cpu",
    precision: str = "float32",
) -> SyntheticModel:
    """hyco's surrogate of one side, with the weights of the original.

    Raises CheckpointError when the original has other numbers of axes or channels than grid and layout.
    """
    inputs = {len(layout.dynamic): "dynamic", len(layout.components): "all"}
    if (original.rank, original.outputs) != (grid.rank, len(layout.dynamic)) or original.inputs not in inputs:
        raise CheckpointError(
            f"{original.source}: expected a network of {grid.rank} axes that makes {len(layout.dynamic)} "
            f"components of {' or '.join(map(str, inputs))}; found one of {original.rank} axes that makes "
            f"{original.outputs} of {original.inputs}. Use the configuration it was trained with."
        )
    with use_mode(side):
        model: SyntheticModel = resolve("synthetic_model", "unet")(
            layout,
            grid,
            architecture=original.architecture,
            residual=False,
            inputs=inputs[original.inputs],
            device=device,
            precision=precision,
        )
    model.assign(original.weights)
    return model


def continue_training(original: OriginalNetwork, trainer: SyntheticTrainer) -> None:
    """Put weights, Adam's state and the number of epochs done into a trainer of a `build_network` model.

    Raises CheckpointError when the file has no Adam state, or the network is another one.
    """
    if not original.moments:
        raise CheckpointError(
            f"{original.source}: holds weights only, no optimizer_state_dict to go on from. "
            "Use the checkpoint that the training wrote at its end, or start from the weights."
        )
    parameters = [name for name, _ in trainer.model.network.named_parameters()]
    arrays = {
        **prefixed("weights", original.weights),
        **prefixed("best", original.weights),
        **prefixed("moments", original.moments_by_index(parameters)),
    }
    said = {"epoch": (original.epoch or 0) + 1, "best_loss": original.loss, "optimizer": "adam"}
    facts = {**trainer.state().facts, **said}
    trainer.restore(TrainingState(arrays, facts))


def _architecture(path: Path, weights: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """What the names and shapes say; the shapes of all entries are checked against it afterwards."""
    try:
        levels = 1
        while f"down{levels}.conv.double_conv.3.weight" in weights:
            levels += 1
        blocks = ["inc", *(f"down{i}.conv" for i in range(1, levels))]
        first = weights["inc.double_conv.0.weight"]
        return {
            "rank": first.ndim - 2,
            "inputs": first.shape[1],
            "outputs": weights["outc.weight"].shape[0],
            "filters": tuple(weights[f"{b}.double_conv.3.weight"].shape[0] for b in blocks),
            "batch_norm": "inc.double_conv.1.running_mean" in weights,
        }
    except (KeyError, IndexError) as error:
        raise CheckpointError(
            f"{path}: expected the U-Net of HYCO-PhiFlow, but there is no {error}; it has {_listed(weights)}."
        ) from error


def _shapes(
    rank: int, inputs: int, outputs: int, filters: Sequence[int], batch_norm: bool
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of such a U-Net, in the order of hyco's."""

    def block(name: str, inputs: int, middle: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        for number, seen, made in ((0, inputs, middle), (3, middle, outputs)):
            yield f"{name}.double_conv.{number}.weight", (made, seen, *(3,) * rank)
            yield f"{name}.double_conv.{number}.bias", (made,)
            if batch_norm:
                norm = f"{name}.double_conv.{number + 1}"
                yield from ((f"{norm}.{part}", (made,)) for part in _STATISTICS)
                yield f"{norm}.num_batches_tracked", ()

    yield from block("inc", inputs, filters[0], filters[0])
    for i in range(1, len(filters)):
        yield from block(f"down{i}.conv", filters[i - 1], filters[i], filters[i])
        wide = filters[-i] + filters[-i - 1]
        yield from block(f"up{i}.conv", wide, wide // 2, filters[-i - 1])
    yield "outc.weight", (outputs, filters[0], *(1,) * rank)
    yield "outc.bias", (outputs,)


def _moments(
    path: Path, content: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]
) -> dict[str, dict[str, NDArray[Any]]]:
    """Adam's state by parameter: PyTorch numbers the parameters in the order of the state_dict."""
    if "optimizer_state_dict" not in content:
        return {}
    parameters = [name for name in weights if name.rpartition(".")[2] not in _BUFFERS]
    try:
        state = content["optimizer_state_dict"]["state"]
        found = {
            parameters[int(i)]: {str(n): np.asarray(v) for n, v in entry.items()}
            for i, entry in state.items()
        }
        for name, entry in found.items():
            wanted = {"step": (), "exp_avg": weights[name].shape, "exp_avg_sq": weights[name].shape}
            check_entries(
                f"{path}: Adam's state of {name}", {n: np.zeros(s) for n, s in wanted.items()}, entry
            )
        return found
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: its optimizer_state_dict is not Adam's ({type(error).__name__}: {error})."
        ) from error


def _listed(names: Mapping[str, Any]) -> str:
    shown = [str(name) for name in list(names)[:4]]
    return ", ".join(shown) + (", ..." if len(names) > 4 else "") or "nothing"
