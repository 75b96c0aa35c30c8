"""PhiML mode: every component with named dimensions, by PhiFlow and PhiML.  Importing it registers them."""

from hyco.phiml import data_manager, dataset
from hyco.phiml.physical import burgers
from hyco.phiml.synthetic import unet
from hyco.phiml.trainers import hybrid, physical, synthetic

__all__ = ["burgers", "data_manager", "dataset", "hybrid", "physical", "synthetic", "unet"]
