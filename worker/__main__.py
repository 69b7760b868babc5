"""Starts `mlpeft-worker`."""

from __future__ import annotations

from mlpeft.launch import launch


def main() -> None:
    """Run the command."""
    launch("worker.cli")


if __name__ == "__main__":
    main()
