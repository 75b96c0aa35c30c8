"""What is to be learned: grids, fields, equations, expressions, windows and randomness, in numpy."""
