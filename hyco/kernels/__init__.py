"""Fused kernels for whole rollouts of grid equations on the CPU, and their adjoints.

Only `hyco.phiml` calls them, and imports them where it does, since numba takes a while to load.
"""
