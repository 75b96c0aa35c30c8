"""Surrogates, one file per architecture; every file in this folder is imported, and registers its model."""

from hyco.migration.registry import import_all

import_all(__name__, __path__)
