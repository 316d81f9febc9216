"""From sizes and memory to shards, buckets, runs and levels. Pure arithmetic."""
