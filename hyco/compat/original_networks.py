"""Checkpoints of the original HYCO-PhiFlow: its U-Net in either mode of hyco, and its Adam state.

First age: {"epoch", "model_state_dict", "loss", "optimizer_state_dict"}, or the bare `state_dict`, names
under `net.`; second age: the bare `state_dict`.  A file says nothing of the network but names and shapes,
from which the architecture follows: its convolutions are padded with zeros, its activations are ReLUs, and
it predicts the next dynamic fields themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from hyco.compat.archives import read_torch
from hyco.compat.originals import in_force, read_parameters
from hyco.config import Config
from hyco.errors import CheckpointError
from hyco.interfaces import PhysicalModel, Side, SyntheticModel, SyntheticTrainer, TrainingState
from hyco.learning.checkpoints import check_entries, prefixed
from hyco.migration.registry import resolve, use_mode
from hyco.problem.fields import FieldLayout
from hyco.problem.grid import Grid

SIDES: Mapping[str, Side] = {".pth": "legacy", ".phiml": "phiml"}
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
    facts = {**trainer.state().facts, "epoch": (original.epoch or 0) + 1, "best_loss": original.loss}
    trainer.restore(TrainingState(arrays, facts))


def convert_original(source: str | Path, target: str | Path, config: Config) -> str:
    """Write a network, or learned parameters, of HYCO-PhiFlow as hyco's checkpoint; what it was, in words.

    The ending of `target` chooses the mode: `.pth` legacy, `.phiml` phiml.  What was written is loaded again
    and compared, entry by entry; `target` appears when it is the same.  Raises CheckpointError.
    """
    source, target = Path(source), Path(target)
    if target.suffix not in SIDES:
        raise CheckpointError(
            f"{target}: expected the ending .pth (legacy) or .phiml, got {target.suffix!r}."
        )
    side = SIDES[target.suffix]
    if _holds_parameters(source):
        return _convert_parameters(source, target, config, side)
    original = read_network(source)
    model = build_network(original, config.grid, config.layout, side)
    again = build_network(original, config.grid, config.layout, side)
    again.assign({name: np.zeros_like(w) for name, w in original.weights.items()})
    _write(model, again, target, lambda m: m.weights())
    return f"{source}: U-Net {dict(original.architecture)}, {len(original.weights)} entries -> {target}"


def _holds_parameters(source: Path) -> bool:
    if source.suffix == ".npz":
        return True
    content = read_torch(source, error=CheckpointError)
    return isinstance(content, dict) and "learnable_parameters" in content


def _convert_parameters(source: Path, target: Path, config: Config, side: Side) -> str:
    values = read_parameters(source, config.equation)
    for name, value in values.items():
        if value.shape not in ((), config.grid.resolution):
            raise CheckpointError(
                f"{source}: {name} has one value per cell of a grid {value.shape}, the configuration's is "
                f"{config.grid.resolution}. HYCO-PhiFlow's trainer.physical.downsample_factor halves the "
                "grid of its physical model; give the resolution that this file has."
            )
    physical, found = config.model.physical, values
    if source.suffix == ".pth":
        values = in_force(values, config.equation, config.grid, physical.dt)
    cut = sum(int(np.sum(values[name] != found[name])) for name in values)

    def build(parameters: Mapping[str, Any]) -> PhysicalModel:
        with use_mode(side):
            model: PhysicalModel = resolve("physical_model", physical.name)(
                config.grid,
                physical.dt,
                parameters,
                boundaries=physical.boundaries,
                substeps=physical.substeps,
                device="cpu",
                precision=config.trainer.precision,
            )
        return model

    again = build({name: 0.5 * value for name, value in values.items()})
    _write(build(values), again, target, lambda m: {n: m.arrays.numpy(p) for n, p in m.parameters.items()})
    clipped = f" ({cut} values cut to what HYCO-PhiFlow let act)" if cut else ""
    return f"{source}: {', '.join(values)} of {physical.name}{clipped} -> {target}"


def _write(model: Any, again: Any, target: Path, entries: Any) -> None:
    """Save a model, load the file into another one, and let it stand when both hold the same bits."""
    temporary = target.with_name(f".{target.stem}.{uuid4().hex[:12]}{target.suffix}")
    try:
        model.save(temporary)
        again.load(temporary)
        expected, found = entries(model), entries(again)
        if any(not np.array_equal(expected[name], found[name]) for name in expected):
            raise CheckpointError(
                f"{target}: what was written does not read back as it was; nothing is kept."
            )
        os.replace(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink()


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
