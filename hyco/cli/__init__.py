"""The command line: `hyco`, `python -m hyco`, and `python run.py` in the historic spelling."""

from hyco.cli.app import historic_main, main

__all__ = ["historic_main", "main"]
