"""Starts `mlpeft-coordinator`."""

from __future__ import annotations

from mlpeft.launch import launch


def main() -> None:
    """Run the command."""
    launch("coordinator.cli")


if __name__ == "__main__":
    main()
