"""Inner loops, outer steps, and the learners made of them."""

from mlpeft.platform import prepare

prepare()  # before any module in here imports mlx.core
