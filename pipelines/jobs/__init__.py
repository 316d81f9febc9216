"""The frame of every command: plan, build, execute, watch, sum up."""
