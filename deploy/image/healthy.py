"""Ends with 0 where the process of this container answers, with 1 where it does not.

`HEALTH_URL` says where to ask; `HEALTH_CA` is the file of the authority that signed its certificate, where it has one.
Standard library only: it is started every few seconds, and the image has no curl.
"""

import os
import ssl
import sys
import urllib.request
from typing import Final

SECONDS: Final = 4
"""Shorter than the health check's own limit, so that a process that hangs is told from one that is not there."""


def answers(url: str, authority: str | None) -> bool:
    """Whether `url` answers 200; a certificate counts only where it is good."""
    trusted = ssl.create_default_context(cafile=authority) if authority else None
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if trusted is not None:
        handlers.append(urllib.request.HTTPSHandler(context=trusted))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(0 if answers(os.environ["HEALTH_URL"], os.environ.get("HEALTH_CA")) else 1)
