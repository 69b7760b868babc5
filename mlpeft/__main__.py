"""Starts `mlpeft`."""

from __future__ import annotations

from mlpeft.launch import launch


def main() -> None:
    """Run the command."""
    launch("mlpeft.cli")


if __name__ == "__main__":
    main()
