"""The tests of hyco; the tolerances they use stand in `hyco.testing.tolerances`."""
