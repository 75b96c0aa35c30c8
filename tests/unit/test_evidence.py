"""The record of how far the modes are apart: rows of many comparisons, and the page made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hyco.testing import command, evidence
from hyco.testing.command import app
from hyco.testing.compare import Difference
from hyco.testing.evidence import Finding, rows
from hyco.testing.page import page


def finding(
    name: str,
    error: float,
    *,
    allowed: float = 1e-13,
    precision: str = "float64",
    backend: str = "torch",
) -> Finding:
    difference = Difference("step", error, "batch=0, x=3", 2.0, 2.0 * allowed)
    return Finding("heat", "step", precision, backend, name, difference)


def record(*findings: Finding) -> dict[str, Any]:
    """What `gather` gives, with these findings."""
    return {
        "device": "CPU, x86_64",
        "cells": 2,
        "of_cells": 3,
        "mixtures": 4,
        "of_mixtures": 5,
        "minutes": 0.1,
        "taken": "2026-01-02",
        "environment": {
            "python": "3.11.0",
            "packages": dict.fromkeys(("torch", "jax", "phiflow", "phiml", "numpy", "scipy"), "1"),
        },
        "rows": [vars(row) for row in rows(findings)],
    }


def test_a_row_holds_the_worst_of_its_comparisons() -> None:
    (row,) = rows([finding("a", 2e-15), finding("b", 6e-15), finding("c", 4e-15)])
    assert (row.error, row.allowed, row.compared, row.failed) == (3e-15, 1e-13, 3, 0)
    assert row.where == "b: step, batch=0, x=3"
    both = rows([finding("a", 1e-15), finding("a", 1e-7, allowed=1e-6, precision="float32")])
    assert [r.precision for r in both] == ["float32", "float64"]


def test_one_that_failed_is_worse_than_any_that_passed() -> None:
    strict = finding("strict", 1e-12, allowed=1e-14)
    loose = finding("loose", 1e-9, allowed=1e-8)
    (row,) = rows([loose, strict, loose])
    assert (row.where[:6], row.failed) == ("strict", 1)


def test_the_page_shows_every_row_and_which_device_is_missing() -> None:
    text = page({"cpu": record(finding("a", 4e-15), finding("b", 2e-7, allowed=1e-6, precision="float32"))})
    assert "| heat | step | 2.0e-15 |  | 1e-13 | 1.0e-07 |  | 1e-06 | 2 |" in text
    assert "**none outside the table**" in text
    assert "2 of 3 cells of the matrix, 4 of 5 mixtures" in text
    assert "## CUDA\n\nNot measured yet." in text


def test_the_libraries_stand_side_by_side() -> None:
    two = rows([finding("a", 4e-15), finding("b", 6e-15, backend="jax")])
    assert [(r.backend, r.error) for r in two] == [("jax", 3e-15), ("torch", 2e-15)]
    text = page({"cpu": record(finding("a", 4e-15), finding("b", 6e-15, backend="jax"))})
    assert "| heat | step | 2.0e-15 | 3.0e-15 | 1e-13 |  |  |  | 2 |" in text
    assert "largest difference in float64 with jax: 3.0e-15" in text


def test_the_page_says_what_failed() -> None:
    text = page({"cpu": record(finding("a", 4e-12))})
    assert "**1 outside the table**" in text
    assert "2.0e-12 **1 failed**" in text


@pytest.mark.parametrize(("error", "status"), [(1e-15, 0), (1e-9, 1)])
def test_the_command_writes_record_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: float, status: int
) -> None:
    asked = {}

    def gather(device: str, **options: Any) -> dict[str, Any]:
        asked.update(device=device, **options)
        return record(finding("a", error))

    monkeypatch.setattr(command, "gather", gather)
    output = tmp_path / "docs" / "equivalence.md"
    arguments = ["report", "--device", "cuda:1", "--jobs", "3", "--output", str(output)]
    assert CliRunner().invoke(app, arguments).exit_code == status
    assert (asked["device"], asked["jobs"], asked["full"]) == ("cuda:1", 3, False)
    kept = json.loads((tmp_path / "docs" / "equivalence" / "cuda.json").read_text())
    assert kept["rows"][0]["error"] == error / 2.0
    assert "## CPU\n\nNot measured yet." in output.read_text()
    output.unlink()
    again = CliRunner().invoke(app, ["report", "--only-page", "--output", str(output)])
    assert again.exit_code == status
    assert output.is_file()


def test_evidence_is_gathered_from_cells_and_mixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two comparisons that really run, in processes of their own."""
    cell = next(c for c in evidence.matrix.CELLS if c.name == "heat-1d-scalar-periodic-convnet-float64")
    monkeypatch.setattr(evidence.matrix, "SELECTED", (cell,))
    monkeypatch.setattr(evidence, "EQUATIONS", ["heat"])
    monkeypatch.setattr(
        evidence.mixtures, "selected", lambda e: [evidence.mixtures.mixtures(e)[i] for i in (0, 5)]
    )
    progress: list[tuple[int, int]] = []
    found = evidence.gather("cpu", full=False, jobs=1, progress=lambda *done: progress.append(done))
    assert (found["cells"], found["mixtures"]) == (1, 2)
    assert progress[-1] == (2, 2)
    assert {r["subject"] for r in found["rows"]} == {"heat", "convnet", "mixtures of heat"}
    assert {r["backend"] for r in found["rows"] if r["subject"] == "heat"} == {"torch", "jax"}
    assert all(row["failed"] == 0 and row["error"] < 1e-9 for row in found["rows"])
    assert max(row["compared"] for row in found["rows"]) == 2
