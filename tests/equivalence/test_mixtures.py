"""The promise of the registry: every assignment of sides to components trains as pure legacy does."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.pool import Pool
from pathlib import Path

import pytest

from hyco.migration.factory import choices
from hyco.migration.registry import use_mode
from hyco.problem.equations import EQUATIONS
from hyco.testing import evidence
from hyco.testing.evidence import isolated
from hyco.testing.experiments import tiny, write_data
from hyco.testing.mixtures import KINDS, NEEDED, Mixture, case_of, mixtures, selected

EVERYWHERE = "burgers"  # all of its mixtures are in the default selection; the others' are in the full run


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """A process that is renewed before its traces fill the memory."""
    with isolated(1) as executor:
        yield executor


def marked() -> list[object]:
    """All mixtures of all equations; those that are not selected are for the full run."""
    rows = []
    for equation in EQUATIONS:
        chosen = mixtures(equation) if equation == EVERYWHERE else selected(equation)
        for mixture in mixtures(equation):
            marks = [] if mixture in chosen else pytest.mark.full
            rows.append(pytest.param(mixture, id=mixture.name, marks=marks))
    return rows


@pytest.mark.parametrize("mixture", marked())
def test_every_mixture_trains_as_pure_legacy_does(mixture: Mixture, pool: Pool) -> None:
    differences = pool.apply(evidence.mixture, (mixture, "cpu"))
    assert set(differences) >= {f"losses of a {KINDS[mixture.training]}"}
    for difference in differences.values():
        assert difference.passed, difference


@pytest.mark.parametrize("equation", EQUATIONS)
def test_all_mixtures_are_there(equation: str) -> None:
    everything = mixtures(equation)
    counts = {training: sum(m.training == training for m in everything) for training in NEEDED}
    assert counts == {"hybrid": 128, "synthetic": 16, "physical": 16}
    assert len(set(everything)) == 160
    few = selected(equation)
    for training, needed in NEEDED.items():
        sides = [m.sides for m in few if m.training == training]
        for i in range(len(needed)):
            for j in range(i):
                assert len({(s[i], s[j]) for s in sides}) == 4


@pytest.mark.parametrize("mixture", mixtures("heat")[::17], ids=lambda m: m.name)
def test_a_mixture_chooses_the_sides_it_says(mixture: Mixture, tmp_path: Path) -> None:
    config = tiny(tmp_path, case_of(mixture.equation), [f"general.mode={mixture.training}"])
    with use_mode("hybrid", mixture.components):
        rows = {row.component: row.mode for row in choices(config)}
    assert mixture.components.items() <= rows.items()


def test_a_mixture_really_mixes(tmp_path: Path) -> None:
    """Adapters stand between the sides: each component is of the side that was chosen for it."""
    from hyco.compat.adapters import Adapter
    from hyco.migration.factory import Factory

    config = tiny(tmp_path, case_of("burgers"))
    write_data(config)
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
