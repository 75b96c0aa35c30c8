"""Shadow mode: while one mode does the work, every Nth call is done in the other mode too, and compared.

The call's result is always that of the mode in force, the control; nothing that the other one, the
candidate, does or fails to do reaches the run.
"""

from hyco.migration.shadow.watching import Shadow

__all__ = ["Shadow"]
