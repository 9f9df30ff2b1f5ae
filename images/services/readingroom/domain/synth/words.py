"""Invented words: names that nobody bears, places that are nowhere, and numbers of ranges that are kept for tests.

A family name is made of two halves, so that it is no dictionary word, no vocabulary term and no real surname. Numbers are
those that nobody has: NHS numbers that begin with 999, Ofcom's numbers for drama, example.org.
"""

from __future__ import annotations

from typing import Final

FIRST_HALF: Final = (
    "Bramblo", "Crumpet", "Dabblo", "Fiddlo", "Gurgle", "Humblo", "Jingle", "Knobbly", "Marmalo", "Nettlo", "Oddlo", "Pickla",
    "Quibblo", "Rhubarb", "Scribblo", "Thimblo", "Umbrello", "Vextro", "Wobblo", "Yoddlo", "Zigzag", "Pumpernick", "Bumble",
    "Custardo",
)  # fmt: skip
SECOND_HALF: Final = (
    "fax", "snorkel", "whisk", "plonk", "quist", "zorn", "bucket", "gribble", "thwack", "nozzle", "wump", "trundle", "spindle",
    "frisby", "dongle", "moggs", "pottle", "kettlesby", "sprocket", "tuffet",
)  # fmt: skip
GIVEN: Final = {
    "F": ("Abelonia", "Bettinka", "Clothildy", "Dorothilda", "Euphrasima", "Florimonde", "Gwenlyria", "Hortensina",
          "Isolindra", "Jessamonda", "Kezialine", "Lavinora", "Mirabelka", "Nerissima", "Ottilinda", "Philomendra"),
    "M": ("Algernoth", "Barnabyx", "Cuthberto", "Dagobrand", "Ethelwin", "Ferdinoth", "Gawainor", "Hieronymo",
          "Ignatzio", "Jeremond", "Kaspariel", "Leopoldrin", "Mortimoro", "Nicodemo", "Osbertin", "Peregrinus"),
}  # fmt: skip
STREETS: Final = (
    "Wobbling Lane",
    "Teaspoon Row",
    "Muddle Crescent",
    "Gooseberry Steps",
    "Puddlefoot Close",
    "Crumbly Yard",
)
TOWNS: Final = ("Nethermuddle", "Upper Wibbleham", "Snorkelbury", "Great Dithering", "Plonkhampton", "Little Quaffing")
PLACES: Final = (
    "Nethermuddle", "Wibbleham", "Snorkelbury", "Ditherington", "Plonkhampton", "Quaffington", "Mumblethorpe", "Gigglewick Parva",
    "Tumblestock", "Fumbleford", "Grumbleby", "Bumbleshire", "Twiddlemouth", "Nibbleston", "Wafflecombe", "Squigglesea",
    "Dawdlebridge", "Gabblesham", "Jumblemere", "Rumplecastle", "Sniffleton", "Tootlebourne", "Waddlehurst", "Yawnsworth",
    "Zonkminster", "Hobnobley",
)  # fmt: skip
# The Greek letters that sound alike: one person, another script.
_GREEK: Final = dict(zip("abcdefghijklmnopqrstuvwxyz", "αβκδεφγηιιθλμνοπκρστυβωξιζ", strict=True))


def family_name(number: int) -> str:
    """One of 480."""
    return FIRST_HALF[number % len(FIRST_HALF)] + SECOND_HALF[number // len(FIRST_HALF) % len(SECOND_HALF)]


def in_greek(text: str) -> str:
    """The same name as another script writes it."""
    return "".join(_GREEK.get(letter, letter) for letter in text.lower()).title()


def check_digit(nine: str) -> int:
    """The tenth digit of an NHS number, by modulus 11; 10 means that there is no such number."""
    return (11 - sum(int(digit) * (10 - place) for place, digit in enumerate(nine)) % 11) % 11
