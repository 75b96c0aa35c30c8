"""Times and memory of both modes, side by side: see README.md."""
