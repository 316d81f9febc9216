"""BPE models with draws: their ways to pre-tokens, their tables, and the laws."""
