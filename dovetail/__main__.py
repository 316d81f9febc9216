"""``python -m dovetail NAME …``: the commands."""

from pipelines.__main__ import command

__all__ = ["command"]

if __name__ == "__main__":
    command()
