"""Writes and reads adapters in the formats of other libraries."""

from mlpeft.platform import prepare

prepare()  # before any module in here imports mlx.core
