"""Files to records and records to shards: listing, reading, writing, reports and the manifest."""
