"""A published log over HTTP: the archive's own, or any web server's copy of an export."""

from typing import Final

import httpx

from textkeep.errors import Malformed
from textkeep.ledger.published import SourceFailed

SECONDS: Final = 60.0

PREFIX: Final = "ledger/"
"""Where an archive serves its log, under its own address."""


class Web:
    """Where a log lies: at `URL/ledger/`, with a token where one is given. Close it after use."""

    def __init__(self, url: str, token: str | None) -> None:
        try:
            self._http = httpx.Client(
                base_url=f"{url.rstrip('/')}/",
                headers={"Authorization": f"Bearer {token}"} if token else {},
                timeout=SECONDS,
                trust_env=False,
                follow_redirects=False,
            )
        except (httpx.InvalidURL, ValueError):
            raise Malformed("that is no address", field="--url") from None

    def get(self, path: str) -> bytes | None:
        """What is served at that path of the log. Raises SourceFailed where nothing answers, or something else."""
        try:
            answer = self._http.get(PREFIX + path)
        except (httpx.HTTPError, httpx.InvalidURL):
            raise SourceFailed(f"nothing answers where {path} should be") from None
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code != httpx.codes.OK:
            raise SourceFailed(f"{path} is answered with {answer.status_code}")
        return answer.content

    def hand_in(self, size: int, line: str) -> str | None:
        """Give the archive a cosignature; None where it was taken, else why not."""
        try:
            answer = self._http.post("v1/ledger/cosignatures", json={"size": size, "line": line})
        except httpx.HTTPError:
            return "nothing answers there"
        if answer.is_success:
            return None
        try:
            return str(answer.json().get("detail") or answer.status_code)
        except (ValueError, AttributeError):
            return f"the answer is {answer.status_code}"

    def close(self) -> None:
        """Let the connection go."""
        self._http.close()
