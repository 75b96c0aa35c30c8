"""Recorded updates of networks: what is added, and that nothing is recorded that does not agree.

There is nothing to record without CUDA, where the same work simply runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hyco.interfaces import LossWeights
from hyco.kernels import cuda_graph, cuda_updates
from hyco.kernels.cuda_updates import add_gradients
from hyco.phiml.descent import TorchDescent
from tests.cases import layout_with_static
from tests.equivalence.test_layers import GRID, trainer, windows


def problem() -> tuple[torch.nn.Module, Callable[..., torch.Tensor], torch.Tensor]:
    """A network, of which a part has no say, its loss, and an input."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    network.register_parameter("unused", torch.nn.Parameter(torch.ones(2)))
    return network, lambda x: network(x).square().mean(), torch.rand(5, 3)


def test_gradients_are_added_to_those_that_are_there() -> None:
    network, loss_of, x = problem()
    losses = [add_gradients(object(), loss_of, list(network.parameters()), x) for _ in range(2)]
    found = {name: p.grad for name, p in network.named_parameters()}
    network.zero_grad()
    loss = loss_of(x)
    loss.backward()
    assert losses == [loss.detach()] * 2
    assert not losses[0].requires_grad
    for name, p in network.named_parameters():
        assert (found[name] is None) == (p.grad is None) == (name == "unused")
        assert p.grad is None or torch.allclose(found[name], 2 * p.grad)


def stale(*args: Any) -> Any:
    """What a recording gives that does not see new values."""
    _, work, x = args
    return work(torch.zeros_like(x))


def failing(*_: Any) -> Any:
    """What a driver may say."""
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize(("replayed", "words"), [(stale, "a replay differs"), (failing, "not permitted")])
def test_what_does_not_agree_is_not_recorded(
    replayed: Callable[..., Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, loss_of, x = problem()
    monkeypatch.setattr(cuda_graph, "replayed", replayed)
    key = object()
    with pytest.warns(UserWarning, match=f"not recorded on CUDA.*{words}"):
        loss = add_gradients(key, loss_of, list(network.parameters()), x)
    assert loss == loss_of(x).detach()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        add_gradients(key, loss_of, list(network.parameters()), x)


@pytest.mark.parametrize("observed", [False, True])
def test_a_trainer_learns_the_same_by_recordings(observed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, calls = layout_with_static(GRID.axes), []
    plain, recorded = (trainer("phiml", layout) for _ in range(2))
    batch = windows("phiml", layout, 3, observed=observed)
    weights = LossWeights(interaction=0.5)
    expected = [float(plain.update(batch, weights)) for _ in range(3)]
    monkeypatch.setattr(TorchDescent, "_is_recorded", lambda self, cells: calls.append(cells) or True)
    found = [float(recorded.update(batch, weights)) for _ in range(3)]
    assert found == expected
    assert calls == [5 * GRID.cells] * 3
    for name, weight in plain.weights().items():
        assert np.array_equal(weight, recorded.weights()[name])


def test_what_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = layout_with_static(GRID.axes)
    small, large = cuda_updates.SMALL, cuda_updates.SMALL + 1
    learner = trainer("phiml", layout)._descent
    assert not learner._is_recorded(small)  # on a CPU
    monkeypatch.setattr(learner, "_on_cpu", False)
    assert learner._is_recorded(small)
    assert not learner._is_recorded(large)
    for attribute in ("amp", "recompute", "_normalises"):
        monkeypatch.setattr(learner, attribute, True)
        assert not learner._is_recorded(small)
        monkeypatch.setattr(learner, attribute, False)
