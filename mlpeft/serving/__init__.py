"""Classifiers over HTTP: many adapters over one base, one thread that computes."""

from mlpeft.platform import prepare

prepare()  # before any module in here imports mlx.core
