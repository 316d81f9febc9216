"""BPE with draws: pre-tokens cut out of text, merges with dropout, splits of tokens into pairs."""
