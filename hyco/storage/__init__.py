"""What hyco keeps on disk and in memory: atomic writes, fingerprints, HDF5 trajectories, a bounded cache."""
