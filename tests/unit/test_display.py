"""The bars on a terminal: every phase, epoch and solve begins anew, with nothing of the one before."""

from __future__ import annotations

import io
import re

from rich.console import Console

from hyco.cli.display import Terminal


def terminal() -> Terminal:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=40, color_system=None)
    return Terminal(console)


def rows(shown: Terminal) -> dict[str, str]:
    """What stands in each bar now, by its work."""
    drawn = io.StringIO()
    Console(file=drawn, width=120).print(shown.bars.get_renderable())
    lines = (line.strip(" └") for line in drawn.getvalue().splitlines())
    return {re.split("━|  ", line)[0].strip(): line for line in lines}


def test_bars_without_words_begin_anew() -> None:
    """As they do in the second epoch of every training; the terminal is drawn at each step."""
    shown = terminal()
    with shown.bars:
        for _ in range(3):
            for batch in (1, 2):
                shown.update("batches", batch, 2)
            assert " 2/2 " in rows(shown)["batches"]
        shown.update("batches", 1, 2)
        assert " 1/2 " in rows(shown)["batches"]


def test_the_words_of_the_phase_before_are_gone() -> None:
    shown = terminal()
    with shown.bars:
        shown.update("surrogate epochs", 0, 2)
        shown.update("surrogate epochs", 1, 2, "loss 1.00e-01")
        shown.detail("surrogate epochs", "loss 2.00e-01")
        assert "2.00e-01" in rows(shown)["surrogate epochs"]
        shown.update("surrogate epochs", 2, 2)
        assert "2.00e-01" in rows(shown)["surrogate epochs"]
        shown.update("surrogate epochs", 0, 2)
        begun = rows(shown)["surrogate epochs"]
        assert "loss" not in begun and " 0/2 " in begun
        shown.update("surrogate epochs", 1, 2, "loss 3.00e-01")
        assert "3.00e-01" in rows(shown)["surrogate epochs"]
