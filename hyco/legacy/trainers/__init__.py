"""Trainers of the two models, and of both together."""

from hyco.migration.registry import import_all

import_all(__name__, __path__)
