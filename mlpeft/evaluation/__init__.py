"""What was learned: scores with intervals, comparisons, pictures."""

from mlpeft.platform import prepare

prepare()  # before any module in here imports mlx.core
