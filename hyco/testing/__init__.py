"""Are two results the same?  The comparator and the table of tolerances that hyco's own tests use.

reference = snapshot(old.step(state), dims, arrays=old.arrays, names={"field": old.layout.components})
candidate = snapshot(new.step(other), dims, arrays=new.arrays, names={"field": new.layout.components})
assert_equivalent(reference, candidate, "step")
"""

from hyco.testing.compare import Difference, Mismatch, Snapshot, assert_equivalent, measure, snapshot
from hyco.testing.tolerances import TOLERANCES, Tolerance, tolerance

__all__ = [
    "TOLERANCES",
    "Difference",
    "Mismatch",
    "Snapshot",
    "Tolerance",
    "assert_equivalent",
    "measure",
    "snapshot",
    "tolerance",
]
