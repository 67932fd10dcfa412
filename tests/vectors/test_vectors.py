"""Vectors made small, told apart by signatures, and compared."""

from __future__ import annotations

import math
import random

import pytest

from gateway.vectors import Signer, cosines, most_apart, nearest, packed, unit

DICE = random.Random(5)


def vector(size: int) -> list[float]:
    return [DICE.gauss(0, 1) for _ in range(size)]


def at_cosine(one: list[float], cosine: float) -> list[float]:
    """A vector of about this cosine with another one."""
    own = unit(one)
    other = unit(vector(len(one)))
    across = unit(list(other - own * float(own @ other)))
    return list(own * cosine + across * math.sqrt(1 - cosine**2))


@pytest.mark.parametrize("size", [256, 1_536, 3_072])
@pytest.mark.parametrize("cosine", [0.8, 0.95, 0.99])
def test_a_vector_in_bytes_has_nearly_the_cosine_of_the_vector(size, cosine):
    one = vector(size)
    (found,) = cosines(unit(one), [packed(unit(at_cosine(one, cosine)))])

    assert abs(found - cosine) < 0.001


def test_a_vector_of_another_length_is_like_nothing():
    assert cosines(unit([1.0, 2.0]), [packed(unit([1.0, 2.0, 3.0])), b""]) == [-1.0, -1.0]


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [float("nan")], [float("inf"), 1.0]])
def test_a_vector_without_a_direction_is_refused(values):
    with pytest.raises(ValueError, match="direction"):
        unit(values)


def test_signatures_differ_the_less_the_closer_vectors_are_and_are_the_same_in_every_process():
    one = vector(1_536)
    signer, other = Signer(b"secret"), Signer(b"secret")
    bits = []
    for cosine in (0.99, 0.95, 0.8, 0.0):
        pair = signer.sign(unit(one)), other.sign(unit(at_cosine(one, cosine)))
        bits.append((int.from_bytes(pair[0], "big") ^ int.from_bytes(pair[1], "big")).bit_count())

    assert bits == sorted(bits)
    assert bits[1] <= most_apart(0.95) < bits[3]
    assert Signer(b"another").sign(unit(one)) != signer.sign(unit(one))


def test_the_nearest_come_first_and_no_more_than_were_asked_for():
    signatures = [bytes([0b1111]), bytes([0b1]), bytes([0b11]), bytes([0b11111111])]

    assert nearest(bytes([0]), signatures, most_bits=4, most=10) == [1, 2, 0]
    assert nearest(bytes([0]), signatures, most_bits=4, most=1) == [1]
