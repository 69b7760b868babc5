"""Which vectors CAVIA's context shifts."""

import mlx.nn as nn

from mlpeft.meta.cavia import Context
from mlpeft.models.conv4 import Conv4


def shifted(model, *named):
    return Context(3, named or None).bound(model).shifted


def test_a_perceptrons_context_is_beside_its_input():
    model = nn.Sequential(nn.Linear(2, 4), nn.relu, nn.Linear(4, 1))
    assert shifted(model) == ("layers.0.bias",)


def test_behind_convolutions_it_shifts_the_last_blocks_norm():
    """What shifts the first is taken back by the norms that follow."""
    assert shifted(Conv4(5, filters=4)) == ("blocks.3.beta", "blocks.3.gamma")


def test_a_bias_that_a_norm_takes_back_is_left_out():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3)
            self.norm = nn.LayerNorm(4)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = [Block(), Block()]
            self.head = nn.Linear(4, 2)

    assert shifted(Net()) == ("blocks.1.norm.bias", "blocks.1.norm.weight")


def test_others_can_be_named():
    assert shifted(Conv4(5, filters=4), "head", "blocks.0.gamma") == (
        "blocks.0.gamma",
        "head.bias",
    )
