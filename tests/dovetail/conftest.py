"""Tests here run whole commands, as those of ``tests.pipelines`` do, and get what they get."""

from tests.pipelines.conftest import _quick_runs, logs

__all__ = ["_quick_runs", "logs"]
