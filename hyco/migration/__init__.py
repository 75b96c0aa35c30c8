"""Which implementation is in force for each component, and how components are built."""
