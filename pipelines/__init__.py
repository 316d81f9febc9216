"""What a person runs: ``dovetail NAME``, or ``python -m pipelines.NAME``."""

import transforms  # noqa: F401  # before Beam, whose first words it keeps quiet
