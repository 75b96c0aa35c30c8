"""What all commands share: how an app is made, how examples are shown, and what options they have alike."""

from __future__ import annotations

from typing import Annotated, Any

import typer

HELP = {"help_option_names": ["-h", "--help"]}

Debug = Annotated[bool, typer.Option("--debug", help="Show every detail, and the traceback of an error.")]


def new_app(**options: Any) -> typer.Typer:
    """An app without shell completion, whose errors `hyco.cli.outcome` explains."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False, context_settings=HELP, **options)


def examples(*lines: str) -> str:
    """An epilogue with one example per line; typer keeps the line breaks of a paragraph after a backspace."""
    return "\n".join(["\b\nExamples:", *(f"  {line}" for line in lines)])
