"""How it is learned, against interfaces only: schedules, loops, the inverse problem, the cooperation."""
