"""The matrix: equation x dimension x parameter kind x boundary x surrogate x precision, both sides."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from multiprocessing.pool import Pool
from pathlib import Path

import pytest

from hyco.problem.equations import EQUATIONS
from hyco.problem.grid import BOUNDARIES
from hyco.testing.evidence import BACKENDS, isolated
from hyco.testing.experiments import ARCHITECTURES
from hyco.testing.matrix import CELLS, PRECISIONS, SELECTED, Cell, compare
from tests.conftest import demanded

QUANTITIES = {
    "step",
    "rollout",
    "fit loss",
    "fit gradient",
    "network",
    "network rollout",
    "losses of a hybrid run",
    "weights of a hybrid run",
    "parameters of a hybrid run",
    "predictions of a hybrid run",
}
MARKED = [
    pytest.param(cell, id=cell.name, marks=[] if cell in SELECTED else pytest.mark.full)
    for cell in CELLS
    if cell.precision in demanded("HYCO_TEST_PRECISIONS")
]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """A process that is renewed before its traces fill the memory."""
    with isolated(1) as executor:
        yield executor


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", MARKED)
def test_a_cell(cell: Cell, backend: str, device: str, tmp_path: Path, pool: Pool) -> None:
    differences = pool.apply(compare, (cell, tmp_path, device, (backend,)))[backend]
    assert set(differences) == QUANTITIES
    for difference in differences.values():
        assert difference.passed, difference


def test_the_matrix_is_complete() -> None:
    kinds = {e: {c.case.coefficient for c in CELLS if c.case.equation == e} for e in EQUATIONS}
    assert kinds == {
        "advection": {"scalar", "field"},
        "burgers": {"scalar", "field"},
        "gray_scott": {"scalar", "field", "mixed"},
        "heat": {"scalar", "field"},
        "inviscid_burgers": {"field"},
        "navier_stokes": {"scalar", "field", "mixed"},
    }
    cases = sum(len(kinds[e]) * len(EQUATIONS[e].ranks) for e in EQUATIONS) * len(BOUNDARIES)
    assert len({c.settings for c in CELLS}) == len(CELLS) == cases * len(ARCHITECTURES) * len(PRECISIONS)


def test_the_selection_has_every_two_settings_that_occur_together() -> None:
    def pairs(cells: tuple[Cell, ...]) -> set[object]:
        return {pair for cell in cells for pair in combinations(enumerate(cell.settings), 2)}

    assert pairs(SELECTED) == pairs(CELLS)
    assert len(SELECTED) < len(CELLS) / 20
