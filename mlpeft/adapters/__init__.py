"""What a meta-learned start is for: adapters for tasks of one's own, made and used."""

from mlpeft.platform import prepare

prepare()  # before any module in here imports mlx.core
