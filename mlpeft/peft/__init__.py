"""Parameter-efficient fine-tuning: a frozen base and a few leaves that adapt."""

from mlpeft.platform import prepare

prepare()  # before any module in here imports mlx.core
