"""Rotary positions are found under the old and the new names of a config.json."""

from __future__ import annotations

import pytest

from mlpeft.models.pretrained.rope_settings import older_rope_settings

PLAIN = {"rope_theta": 500.0, "rope_type": "default"}
LLAMA3 = {"rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0}


@pytest.mark.parametrize(
    ("settings", "added"),
    [
        ({"rope_theta": 10.0}, {}),
        ({"rope_parameters": None}, {}),
        ({"rope_parameters": PLAIN}, {"rope_theta": 500.0}),
        ({"rope_parameters": PLAIN, "rope_theta": 10.0}, {}),
        ({"rope_parameters": {"full_attention": PLAIN}}, {}),
        (
            {"rope_parameters": PLAIN | {"partial_rotary_factor": 0.5}},
            {"rope_theta": 500.0, "partial_rotary_factor": 0.5},
        ),
        (
            {"rope_parameters": LLAMA3},
            {"rope_theta": 5e5, "rope_scaling": LLAMA3 | {"type": "llama3"}},
        ),
        (
            {"text_config": {"rope_parameters": PLAIN, "hidden_size": 8}},
            {
                "text_config": {
                    "rope_parameters": PLAIN,
                    "hidden_size": 8,
                    "rope_theta": 500.0,
                }
            },
        ),
    ],
)
def test_new_names_are_given_as_the_older_ones(settings, added):
    assert older_rope_settings(settings) == added
