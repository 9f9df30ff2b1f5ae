"""Letters of five by seven points, for what is burned into pictures: capitals, digits, a few marks.

Each letter is seven rows, one byte of five bits a row, in hexadecimal. What is not here is drawn as a full box.
"""

from __future__ import annotations

from typing import Final

WIDTH: Final = 6  # points a letter takes, one of them empty
HEIGHT: Final = 7
_SHAPES: Final = {
    "A": "0e11111f111111", "B": "1e11111e11111e", "C": "0e11101010110e", "D": "1e11111111111e", "E": "1f10101e10101f",
    "F": "1f10101e101010", "G": "0e11101711110f", "H": "1111111f111111", "I": "0e04040404040e", "J": "0702020202120c",
    "K": "11121418141211", "L": "1010101010101f", "M": "111b1515111111", "N": "11191513111111", "O": "0e11111111110e",
    "P": "1e11111e101010", "Q": "0e11111115120d", "R": "1e11111e141211", "S": "0f10100e01011e", "T": "1f040404040404",
    "U": "1111111111110e", "V": "11111111110a04", "W": "1111111515150a", "X": "11110a040a1111", "Y": "11110a04040404",
    "Z": "1f01020408101f", "0": "0e11131519110e", "1": "040c040404040e", "2": "0e11010204081f", "3": "1f02040201110e",
    "4": "02060a121f0202", "5": "1f101e0101110e", "6": "0608101e11110e", "7": "1f010204080808", "8": "0e11110e11110e",
    "9": "0e11110f01020c", " ": "00000000000000", ",": "000000000c0408", ".": "0000000000000c", "-": "0000001f000000",
    "/": "00010204081000", ":": "000c0c000c0c00",
}  # fmt: skip
_UNKNOWN: Final = "1f" * HEIGHT


def points(text: str) -> list[tuple[int, int]]:
    """Row and column of every point that is set, of a text in one line."""
    found = []
    for place, letter in enumerate(text.upper()):
        for row, bits in enumerate(bytes.fromhex(_SHAPES.get(letter, _UNKNOWN))):
            found += [(row, place * WIDTH + column) for column in range(5) if bits >> (4 - column) & 1]
    return found
