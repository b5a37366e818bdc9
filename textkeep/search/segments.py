"""How many segments an SMS is counted as. Pure. Source: 3GPP TS 23.038 (GSM-7) and TS 23.040 (concatenation)."""

import re
from collections.abc import Iterable
from typing import Final

_EXTENSION: Final = r"\f^{}\\\[~\]|€"
_GSM: Final = re.compile(
    r"[@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,\-./0-9:;<=>?¡A-ZÄÖÑÜ§¿a-zäöñüà" + _EXTENSION + "]*"
)
_ESCAPED: Final = re.compile(f"[{_EXTENSION}]")

GSM_ALONE: Final = 160
GSM_JOINED: Final = 153
UCS2_ALONE: Final = 70
UCS2_JOINED: Final = 67


def segments(body: str) -> int:
    """The segments of a body: GSM-7 where every character has a septet (some two), else UTF-16 code units."""
    if _GSM.fullmatch(body):
        escaped = len(_ESCAPED.findall(body))
        if len(body) + escaped <= GSM_ALONE:
            return 1
        if not escaped:
            return -(-len(body) // GSM_JOINED)
        return _joined((2 if _ESCAPED.match(each) else 1 for each in body), GSM_JOINED)
    if len(body.encode("utf-16-le", "surrogatepass")) <= 2 * UCS2_ALONE:
        return 1
    return _joined((2 if ord(each) > 0xFFFF else 1 for each in body), UCS2_JOINED)


def _joined(sizes: Iterable[int], limit: int) -> int:
    """A character of two units is never parted between two segments."""
    count, room = 1, limit
    for size in sizes:
        if size > room:
            count, room = count + 1, limit
        room -= size
    return count
