"""Trajectories in files of somebody else's: PDEBench and The Well, read by window, never as a whole."""

from hyco.storage.sources.ahead import WindowsAhead
from hyco.storage.sources.source import Source, open_source

__all__ = ["Source", "WindowsAhead", "open_source"]
