"""Legacy mode: every component in plain PyTorch.  Importing it registers them."""

from hyco.legacy import data_manager, dataset, physical, synthetic, trainers

__all__ = ["data_manager", "dataset", "physical", "synthetic", "trainers"]
