"""The promise of the registry: every assignment of sides to components trains as pure legacy does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hyco.config import Config
from hyco.migration.factory import choices
from hyco.migration.registry import use_mode
from hyco.problem.equations import EQUATIONS
from hyco.testing.experiments import Outcome, tiny, train, write_data
from hyco.testing.mixtures import KINDS, NEEDED, Mixture, case_of, compare, mixtures, selected

Reference = Callable[[str, str], tuple[Config, Outcome]]
EVERYWHERE = "burgers"  # all of its mixtures are in the default selection; the others' are in the full run


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A configuration per training, its data, and what pure legacy makes of them; once per worker."""
    known: dict[tuple[str, str], tuple[Config, Outcome]] = {}

    def make(equation: str, training: str) -> tuple[Config, Outcome]:
        if (equation, training) not in known:
            folder = tmp_path_factory.mktemp(f"{equation}-{training}")
            config = tiny(folder, case_of(equation), [f"general.mode={training}"])
            write_data(config)
            with use_mode("legacy"):
                known[equation, training] = config, train(config)
        return known[equation, training]

    return make


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
def test_every_mixture_trains_as_pure_legacy_does(mixture: Mixture, reference: Reference) -> None:
    config, expected = reference(mixture.equation, mixture.training)
    with use_mode("hybrid", mixture.components):
        rows = {row.component: row.mode for row in choices(config)}
    assert mixture.components.items() <= rows.items()
    differences = compare(mixture, config, expected)
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


def test_a_mixture_really_mixes(reference: Reference) -> None:
    """Adapters stand between the sides: each component is of the side that was chosen for it."""
    from hyco.compat.adapters import Adapter
    from hyco.migration.factory import Factory

    config, _ = reference("burgers", "hybrid")
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
