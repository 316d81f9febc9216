"""What lives in a worker process beside its work: slots of memory, progress, signs of life."""
