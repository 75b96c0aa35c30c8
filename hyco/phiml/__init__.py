"""PhiML mode: every component with named dimensions, by PhiFlow and PhiML.  Importing it registers them."""

from hyco.phiml import data_manager, dataset, physical, synthetic, trainers

__all__ = ["data_manager", "dataset", "physical", "synthetic", "trainers"]
