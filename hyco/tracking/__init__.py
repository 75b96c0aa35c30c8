"""Where a run also reports: TensorBoard and MLflow, behind the `tracking` block of the configuration."""

from hyco.tracking.tracker import Tracker, check_tracking, open_tracker

__all__ = ["Tracker", "check_tracking", "open_tracker"]
