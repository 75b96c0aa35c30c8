"""The blocks about what a run keeps of itself and where else it reports: checkpoint, tracking."""

from __future__ import annotations

from hyco.config.section import Count, Folder, Positive, Section


class Every(Section):
    """A checkpoint after so many epochs, cycles or minutes, whichever comes first; null: not by that."""

    epochs: Count | None = 1
    cycles: Count | None = 1
    minutes: Positive | None = 10.0


class Checkpoint(Section):
    """When the state of a training is saved, and how many of the last states are kept."""

    every: Every = Every()
    keep: Count = 3


class Tracking(Section):
    """Where scalars, parameter images and rollouts are written beside the run's own files.

    `folder` null: `tracking` in the output folder.
    """

    tensorboard: bool = False
    mlflow: bool = False
    folder: Folder | None = None
