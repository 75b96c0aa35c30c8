"""The snapshots of the parameters: kept, thinned, cut, and the same after a resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hyco.errors import DataError, StorageError
from hyco.storage import parameter_history
from hyco.storage.parameter_history import ParameterHistory


def field(solve: int) -> dict[str, np.ndarray | float]:
    return {"diffusion_coeff": np.full((3, 2), float(solve)), "drag": 0.5 * solve}


def filled(path: Path, solves: int, *, most: int = 8) -> ParameterHistory:
    history = ParameterHistory(path, most=most)
    for solve in range(solves + 1):
        history.append(solve, field(solve))
    return history


def test_what_was_appended_is_read_by_another(tmp_path: Path) -> None:
    path = tmp_path / "run/history.npz"
    assert len(ParameterHistory(path).read()) == 0
    filled(path, 3)
    found = ParameterHistory(path).read()
    assert found.solves == (0, 1, 2, 3)
    assert found.values["diffusion_coeff"].shape == (4, 3, 2)
    np.testing.assert_array_equal(found.values["diffusion_coeff"][:, 1, 1], [0, 1, 2, 3])
    np.testing.assert_array_equal(found.values["drag"], [0, 0.5, 1.0, 1.5])


def test_of_many_solves_every_second_or_fourth_is_kept_and_the_last(tmp_path: Path) -> None:
    assert filled(tmp_path / "a.npz", 7).read().solves == tuple(range(8))
    assert filled(tmp_path / "b.npz", 9).read().solves == (0, 2, 4, 6, 8, 9)
    long = filled(tmp_path / "c.npz", 101).read()
    assert long.solves == (0, 16, 32, 48, 64, 80, 96, 101)
    np.testing.assert_array_equal(long.values["drag"], 0.5 * np.array(long.solves))


def test_large_fields_are_kept_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameter_history, "MOST_BYTES", 4 * 28)  # of four snapshots
    assert filled(tmp_path / "a.npz", 6, most=64).read().solves == (0, 2, 4, 6)


@pytest.mark.parametrize("stopped", [3, 7, 8, 12, 25])
def test_a_resumed_training_ends_with_the_same_snapshots(tmp_path: Path, stopped: int) -> None:
    whole = filled(tmp_path / "whole.npz", 40).read()
    path = tmp_path / "resumed.npz"
    filled(path, stopped + 2)  # two solves further than the state to go on from
    history = ParameterHistory(path, most=8)
    history.cut(stopped)
    assert max(history.read().solves) <= stopped
    for solve in range(stopped + 1, 41):
        history.append(solve, field(solve))
    found = ParameterHistory(path).read()
    assert found.solves == whole.solves
    for name, values in whole.values.items():
        np.testing.assert_array_equal(found.values[name], values)


def test_a_solve_that_is_repeated_replaces_what_came_of_it(tmp_path: Path) -> None:
    history = filled(tmp_path / "a.npz", 5)
    history.append(3, {"diffusion_coeff": np.full((3, 2), -1.0), "drag": -1.0})
    assert history.read().solves == (0, 1, 2, 3)
    assert history.read().values["drag"][-1] == -1.0


def test_clearing_begins_anew_even_from_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK nothing of the kind")
    with pytest.raises(DataError, match=r"a\.npz: no history of parameters .*Delete it"):
        ParameterHistory(path).read()
    history = ParameterHistory(path)
    history.clear()
    history.append(0, field(0))
    assert ParameterHistory(path).read().solves == (0,)


def test_parameters_of_another_shape_are_refused(tmp_path: Path) -> None:
    history = filled(tmp_path / "a.npz", 1)
    with pytest.raises(DataError, match=r"diffusion_coeff.*\(3, 2\).*got .*\(4,\)"):
        history.append(2, {"diffusion_coeff": np.zeros(4), "drag": 1.0})


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = filled(tmp_path / "a.npz", 2)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="No space left"):
        history.append(3, field(3))
    assert ParameterHistory(tmp_path / "a.npz").read().solves == (0, 1, 2)
