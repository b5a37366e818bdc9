"""INDEX_URL: what it may say, and that nothing of it is ever quoted."""

from pathlib import Path

import pytest

from tests.engines.certificates import certify
from textkeep.errors import Malformed
from textkeep.search.drivers.opensearch_address import Address

CANARY = "canary-1234567890"


def test_one_node_on_this_machine_needs_no_tls() -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        address = Address.parse(f"http://{host}:9251/archive-2")
        assert address.nodes == ((host.strip("[]"), 9251),)
        assert (address.prefix, address.tls, address.user, address.password) == ("archive-2", None, None, None)


def test_several_nodes_with_tls_user_and_password() -> None:
    address = Address.parse("https://user:p%40ss%2C:word@h1.example:9200,h2.example,[2001:db8::1]:9201/")
    assert address.nodes == (("h1.example", 9200), ("h2.example", 9200), ("2001:db8::1", 9201))
    assert (address.user, address.password, address.prefix) == ("user", "p@ss,:word", "textkeep")
    assert address.tls is not None
    assert address.tls.check_hostname
    assert address.tls.verify_mode.name == "CERT_REQUIRED"


def test_an_authority_of_ones_own_is_the_only_one_that_is_trusted(tmp_path: Path) -> None:
    address = Address.parse(f"https://h/?ca={certify(tmp_path).ca}")
    assert address.tls is not None
    (trusted,) = address.tls.get_ca_certs()
    assert trusted["subject"] == ((("commonName", "Textkeep's tests"),),)


def test_the_password_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("pass:word \n")
    address = Address.parse(f"https://user@h/?password_file={file}")
    assert (address.user, address.password) == ("user", "pass:word ")
    file.write_text("someone:pass:word\r\n")
    address = Address.parse(f"https://h/?password_file={file}")
    assert (address.user, address.password) == ("someone", "pass:word")


@pytest.mark.parametrize(
    "url",
    [
        "",
        f"{CANARY}",
        f"ftp://{CANARY}/textkeep",
        f"http://{CANARY}.example:9200/textkeep",
        f"http://127.0.0.1:9200,{CANARY}:9200/",
        f"https:///{CANARY}",
        f"https://h:0/{CANARY}",
        f"https://h:99999/{CANARY}",
        f"https://h:port/{CANARY}",
        f"https://h1,,h2/{CANARY}",
        f"https://h_{CANARY}!/",
        f"https://[::1/{CANARY}",
        f"https://[{CANARY}]/",
        f"https://h/{CANARY}/second",
        f"https://h/{CANARY.upper()}",
        f"https://h/-{CANARY}",
        f"https://h/{CANARY}-",
        f"https://h/{'x' * 41}",
        f"https://h/textkeep#{CANARY}",
        f"https://h/?{CANARY}=1",
        f"https://h/?{CANARY}",
        "https://h/?ca=",
        f"https://h/?ca=/{CANARY}",
        f"http://127.0.0.1/?ca=/{CANARY}",
        f"https://{CANARY}@h/",
        f"https://:{CANARY}@h/",
        f"https://{CANARY}:@h/",
        f"https://user:{CANARY}@h/?password_file=/dev/null",
        f"https://user@h/?password_file=/{CANARY}",
        "https://user@h/?password_file=/dev/null",
        f"https://us%3Aer:{CANARY}@h/",
    ],
)
def test_anything_else_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(Malformed) as refused:
        Address.parse(url)
    assert refused.value.field == "INDEX_URL"
    assert refused.value.remedy.startswith("Write INDEX_URL as https://USER:PASSWORD@HOST")
    shown = refused.value.detail + refused.value.remedy
    assert CANARY not in shown.lower()


def test_an_address_shows_no_password() -> None:
    address = Address.parse(f"https://user:{CANARY}@h/")
    assert CANARY not in f"{address!r} {address}"
    assert "user" not in repr(address)
