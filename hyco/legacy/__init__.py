"""Legacy mode: every component in plain PyTorch.  Importing it registers them."""

from hyco.legacy import data_manager, dataset
from hyco.legacy.physical import burgers
from hyco.legacy.synthetic import unet
from hyco.legacy.trainers import hybrid, physical, synthetic

__all__ = ["burgers", "data_manager", "dataset", "hybrid", "physical", "synthetic", "unet"]
