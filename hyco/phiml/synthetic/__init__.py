"""Surrogates, one file per architecture."""
