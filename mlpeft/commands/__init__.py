"""The commands of `mlpeft`, one file each; `mlpeft.cli` puts them together."""
