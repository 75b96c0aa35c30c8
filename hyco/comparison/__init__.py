"""Two modes side by side: do they agree, part by part, and what does each cost?

`compare_modes` builds a configuration in two mixtures of modes and compares every component and a training;
`compare_runs` compares what two runs left behind.
"""

from hyco.comparison.findings import Comparison, Finding, Section, Timing
from hyco.comparison.modes import compare_modes
from hyco.comparison.runs import compare_runs

__all__ = ["Comparison", "Finding", "Section", "Timing", "compare_modes", "compare_runs"]
