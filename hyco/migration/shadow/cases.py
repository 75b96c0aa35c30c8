"""The methods that are compared: of models, data managers and datasets, and of trainers."""

from hyco.migration.shadow.learning import Learning, LossAndGradients, PhysicalLoss, SyntheticLoss, Update
from hyco.migration.shadow.states import (
    Case,
    GetBatch,
    Load,
    Network,
    PhysicalRollout,
    Step,
    SyntheticRollout,
)

__all__ = [
    "Case",
    "GetBatch",
    "Learning",
    "Load",
    "LossAndGradients",
    "Network",
    "PhysicalLoss",
    "PhysicalRollout",
    "Step",
    "SyntheticLoss",
    "SyntheticRollout",
    "Update",
]
