"""Who owns an output folder, and what is cleared there."""
