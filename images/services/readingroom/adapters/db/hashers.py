"""How a secret is kept so that it can be checked and not read: scrypt for what people choose, one round for what chance made."""

from __future__ import annotations

from typing import Final

from django.contrib.auth.hashers import PBKDF2PasswordHasher, ScryptPasswordHasher

from readingroom.domain.errors import WrongSetUp

SHORTEST: Final = 12


class RandomSecretHasher(PBKDF2PasswordHasher):
    """For secrets of 32 random bytes, which nobody guesses: a hub proves itself with one at each refresh."""

    algorithm = "pbkdf2_sha256_random"
    iterations = 1


# The first is the one that Django moves people's passwords to: never the other way round.
HASHERS: Final = ["django.contrib.auth.hashers.ScryptPasswordHasher", f"{__name__}.RandomSecretHasher"]
PEOPLE: Final = ScryptPasswordHasher.algorithm


def password_hash(password: str) -> str:
    """The hash of a person's password, as a roster carries it. Raises `WrongSetUp` for one that is too short."""
    if len(password) < SHORTEST:
        raise WrongSetUp(
            what="a password", why=f"it has fewer than {SHORTEST} characters", next_step="choose a longer one"
        )
    hasher = ScryptPasswordHasher()
    return hasher.encode(password, hasher.salt())


def check_password_hash(value: str) -> None:
    """Only a hash that `password_hash` could have made is a person's. Raises `WrongSetUp` otherwise.

    Above all not one of `RandomSecretHasher`, under which a chosen password would be guessed in no time.
    """
    try:
        fits = (
            value.startswith(f"{PEOPLE}$")
            and int(ScryptPasswordHasher().decode(value)["work_factor"]) >= ScryptPasswordHasher.work_factor
        )
    except (ValueError, AssertionError):
        fits = False
    if not fits:
        raise WrongSetUp(
            what="a password hash in the roster",
            why="it was not made by `python -m readingroom.entrypoints.enrol hash`",
            next_step="make it anew",
        )
