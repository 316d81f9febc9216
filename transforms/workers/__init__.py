"""What lives in a worker process beside its work: memory, progress, signs of life, coders."""
