"""Which arm a user is in: a pure function of user and salt, the same on every machine and in every process.

Two independent numbers are drawn from each user's id by hashing: one says whether the user is in the experiment (it is
below the ramp), the other which arm it would be. So a larger ramp lets users in and moves none, and another salt shares
all users out anew, whatever another experiment did.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

__all__ = ["arm_index", "is_exposed", "user_fraction"]


def user_fraction(salt: str, purpose: str, user: str) -> float:
    """A number in [0, 1), uniform over users and independent for different salts and purposes."""
    # Lengths in front: no two different triples make the same text.
    text = f"{len(salt)}:{salt}:{len(purpose)}:{purpose}:{user}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def is_exposed(salt: str, user: str, ramp: float) -> bool:
    """Whether the user is among the share `ramp` of users who are in the experiment."""
    return user_fraction(salt, "exposure", user) < ramp


def arm_index(salt: str, user: str, shares: Sequence[float]) -> int:
    """Number of the user's arm; arm i has the share `shares[i]` of users, which sum to 1."""
    ends = list(accumulate(shares))[:-1]
    return bisect_right(ends, user_fraction(salt, "arm", user))
