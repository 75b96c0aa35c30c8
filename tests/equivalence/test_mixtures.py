"""The promise of the registry: every assignment of sides to components trains as pure legacy does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from hyco.config import Config
from hyco.migration.factory import choices
from hyco.migration.registry import Component, use_mode
from hyco.testing import assert_equivalent
from hyco.testing.experiments import Outcome, train, write_data
from tests.experiments import tiny
from tests.sides import SIDES

NEEDED = {
    "hybrid": tuple(str(c) for c in Component),
    "synthetic": ("data_manager", "dataset", "synthetic_model", "synthetic_trainer"),
    "physical": ("data_manager", "dataset", "physical_model", "physical_trainer"),
}
Reference = Callable[[str], tuple[Config, Outcome]]


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A configuration per training mode, its data, and what pure legacy makes of them; once per worker."""
    known: dict[str, tuple[Config, Outcome]] = {}

    def make(mode: str) -> tuple[Config, Outcome]:
        if mode not in known:
            config = tiny(tmp_path_factory.mktemp(mode), [f"general.mode={mode}"])
            write_data(config)
            with use_mode("legacy"):
                known[mode] = config, train(config)
        return known[mode]

    return make


def mixtures() -> list[tuple[str, tuple[str, ...]]]:
    """128 of the hybrid training, 16 of each other."""
    return [(mode, sides) for mode, needed in NEEDED.items() for sides in product(SIDES, repeat=len(needed))]


def label(mixture: tuple[str, tuple[str, ...]]) -> str:
    """`hybrid-LLPLPLP`: the sides in the order of `NEEDED`."""
    return f"{mixture[0]}-{''.join(side[0].upper() for side in mixture[1])}"


@pytest.mark.parametrize("mixture", mixtures(), ids=label)
def test_every_mixture_trains_as_pure_legacy_does(
    mixture: tuple[str, tuple[str, ...]], reference: Reference
) -> None:
    mode, sides = mixture
    config, expected = reference(mode)
    components = dict(zip(NEEDED[mode], sides, strict=True))
    with use_mode("hybrid", components):
        assert all(
            row.mode == components[row.component] for row in choices(config) if row.component in components
        )
        found = train(config)
    assert found.counts() == expected.counts()
    kind = {"hybrid": "hybrid run", "synthetic": "synthetic fit", "physical": "physical fit"}[mode]
    assert_equivalent(expected.losses(), found.losses(), f"losses of a {kind}")
    if mode != "physical":
        assert_equivalent(expected.weights, found.weights, f"weights of a {kind}")
    if mode != "synthetic":
        assert_equivalent(expected.parameters, found.parameters, f"parameters of a {kind}")
    assert_equivalent(expected.predictions, found.predictions, f"predictions of a {kind}")


def test_all_mixtures_are_there() -> None:
    counts = {mode: sum(m == mode for m, _ in mixtures()) for mode in NEEDED}
    assert counts == {"hybrid": 128, "synthetic": 16, "physical": 16}


def test_a_mixture_really_mixes(reference: Reference, tmp_path: Path) -> None:
    """Adapters stand between the sides: each component is of the side that was chosen for it."""
    from hyco.compat.adapters import Adapter
    from hyco.migration.factory import Factory

    config, _ = reference("hybrid")
    with use_mode("hybrid", {"dataset": "phiml", "synthetic_trainer": "phiml"}):
        factory = Factory(config)
        manager = factory.data_manager()
        dataset = factory.dataset(manager, config.trainer.train_sim)
        trainer = factory.synthetic_trainer(factory.synthetic_model())
    assert [type(c).__module__.split(".")[1] for c in (manager, dataset, trainer)] == [
        "legacy",
        "phiml",
        "phiml",
    ]
    assert isinstance(dataset.manager, Adapter)
    assert dataset.manager.inner is manager
    assert isinstance(trainer.model, Adapter)
    assert trainer.model.inner.mode == "legacy"
