"""The shuffle: partition, exchange, gather, and the shuffle inside of buckets."""
