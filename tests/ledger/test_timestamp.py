"""Time tokens: taken where they are over what was asked, from whoever is trusted, and from nobody else."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.time_authority import Authority, time_authority
from textkeep.errors import Outage, Unsound
from textkeep.ledger.timestamp import TimeAuthority

NOTE = b"textkeep/0011223344556677\n7\nroot\n\n\xe2\x80\x94 signature\n"


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    pytest.importorskip("rfc3161_client")
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there")
    with time_authority(tmp_path / "tsa") as answering:
        yield answering


def test_a_token_is_one_that_others_accept(authority: Authority) -> None:
    for roots in (None, authority.roots):
        token = TimeAuthority(authority.url, roots).stamp(NOTE)
        assert authority.verifies(token.token, NOTE)
        assert not authority.verifies(token.token, NOTE + b"?")
        assert len(token.digest()) == 64
        assert token.at.tzinfo is not None
    assert len(set(authority.asked)) == 2


def test_a_token_that_was_given_before_or_for_something_else_is_none(authority: Authority) -> None:
    asking = TimeAuthority(authority.url)
    asking.stamp(NOTE)
    authority.reply = (authority.folder / "reply").read_bytes()
    for content in (NOTE, NOTE + b"more"):
        with pytest.raises(Unsound, match="answered"):
            asking.stamp(content)


def test_an_authority_under_another_root_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    with time_authority(tmp_path / "other") as other, pytest.raises(Unsound, match="trusted"):
        TimeAuthority(authority.url, other.roots).stamp(NOTE)


@pytest.mark.parametrize("reply", [b"", b"nothing of the kind", b"\x30\x03\x02\x01\x02"])
def test_what_is_no_token_is_refused(authority: Authority, reply: bytes) -> None:
    authority.reply = reply
    with pytest.raises(Unsound):
        TimeAuthority(authority.url).stamp(NOTE)


def test_an_authority_that_fails_or_is_silent_is_an_outage(authority: Authority) -> None:
    authority.status = 500
    with pytest.raises(Outage):
        TimeAuthority(authority.url).stamp(NOTE)
    with pytest.raises(Outage):
        TimeAuthority("http://127.0.0.1:9/tsa").stamp(NOTE)


def test_certificates_that_cannot_be_read_are_told_at_the_start(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("nothing")
    for file in ("none.pem", "missing.pem"):
        with pytest.raises(Unsound, match="cannot be read"):
            TimeAuthority(authority.url, tmp_path / file)
