"""Models that are meta-learned, their losses and their operations."""

from mlpeft.platform import prepare

prepare()  # before any module in here imports mlx.core
