"""Several shuffled sources woven into one sequence by a schedule."""
