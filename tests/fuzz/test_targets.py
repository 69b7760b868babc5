"""Readers of other people's bytes, on good samples, spoiled ones and old findings."""

import random

import pytest

from tests.fuzz.targets import TARGETS

SPOILED = 200
"""Ways in which each sample is spoiled."""


def spoil(sample, rng):
    """A sample with some bytes changed, cut out, doubled, or moved to the end."""
    data = bytearray(sample)
    for _ in range(rng.randrange(1, 4)):
        at, size = rng.randrange(len(data) + 1), rng.randrange(1, 9)
        match rng.randrange(5):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = data[at : at + size]
            case 3:
                data = data[at:] + data[:at]
            case _:
                data[at : at + size] = rng.choice(
                    [b"null", b"[]", b"-1", b'"', b"1e999"]
                )
    return bytes(data)


NEARLY_GOOD = {"certificate", "encoder_settings", "tokenizer"}
"""Targets whose samples lack something: a key, weights, a part's name."""


@pytest.mark.parametrize("name", sorted(TARGETS.keys() - NEARLY_GOOD))
def test_good_samples_are_read(name):
    target = TARGETS[name]
    for sample in target.samples:
        target.read(sample)


@pytest.mark.parametrize("name", TARGETS)
def test_spoiled_samples_are_read_or_refused_by_name(name):
    target = TARGETS[name]
    rng = random.Random(f"{name} 1")  # noqa: S311 - no secret
    for sample in target.samples:
        for _ in range(SPOILED):
            target.try_to_read(spoil(sample, rng))


@pytest.mark.parametrize("name", [key for key in TARGETS if TARGETS[key].found])
def test_what_was_found_before_is_refused_by_name(name):
    target = TARGETS[name]
    for data in target.found:
        target.try_to_read(data)
