"""Telephone numbers: which are domestic (US or CA), which are not, and which cannot be one. Pure.

E.164 numbers of the North American Numbering Plan (+1) are told by their area code; phonenumberslite judges the rest.
"""

from functools import lru_cache
from typing import Final, Literal

import phonenumbers

Kind = Literal["domestic", "international"]

CACHED_NUMBERS: Final = 65_536
"""How many numbers already judged are remembered, in memory only."""

ABROAD: Final[dict[str, str]] = {
    "242": "BS",
    "246": "BB",
    "264": "AI",
    "268": "AG",
    "284": "VG",
    "345": "KY",
    "441": "BM",
    "473": "GD",
    "649": "TC",
    "658": "JM",
    "664": "MS",
    "721": "SX",
    "758": "LC",
    "767": "DM",
    "784": "VC",
    "809": "DO",
    "829": "DO",
    "849": "DO",
    "868": "TT",
    "869": "KN",
    "876": "JM",
}
"""The +1 area codes of other countries, by ISO region. Source: NANPA, NPA report of 2025-11-26.

Every other code of the right form counts as US or CA: their states and provinces, the territories PR (787, 939), VI
(340), GU (671), MP (670) and AS (684), toll-free numbers, and codes put in service after that report, which come a few
a year and have for decades been theirs. So a new area code does not send ordinary texts into quarantine.
"""

_SHORT_CODE: Final = (5, 6)
_E164_DIGITS: Final = range(7, 16)


@lru_cache(maxsize=CACHED_NUMBERS)
def kind_of(number: str) -> Kind | None:
    """Whether a number as it stands on the wire (E.164, or a short code of 5 or 6 digits) is domestic.

    `None` for what no telephone can have: another spelling, too few or too many digits, no such country.
    """
    if not number.isascii():
        return None
    if number.startswith("+1"):
        return _kind_in_plan(number[2:])
    if number.startswith("+"):
        return "international" if _possible(number) else None
    return "domestic" if len(number) in _SHORT_CODE and number.isdigit() else None


def is_own(number: str) -> bool:
    """Whether a user of the texting service may have this as primary number: E.164, in the US or Canada."""
    return number.startswith("+") and kind_of(number) == "domestic"


def _kind_in_plan(digits: str) -> Kind | None:
    """Form of area code and exchange: ATIS-0300055, ATIS-0300119: NXX-NXX-XXXX; no area code is N11 or N9X."""
    if len(digits) != 10 or not digits.isdigit() or digits[0] in "01" or digits[3] in "01":
        return None
    if digits[1] == "9" or digits[1:3] == "11":
        return None
    return "international" if digits[:3] in ABROAD else "domestic"


def _possible(number: str) -> bool:
    if len(number) - 1 not in _E164_DIGITS or not number[1:].isdigit():
        return False
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
