"""Physical models, one file per equation."""
