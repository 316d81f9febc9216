"""Which records are for training, validation and test: by a keyed hash of their content."""
