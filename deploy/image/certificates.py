"""Certificates for the links inside `docker-compose.yml`: one authority whose key is never written, a folder a service.

    certificates.py ROOT

Every folder of SERVICES under ROOT gets `ca.pem`, and all but `public` get `cert.pem`, `key.pem` (PKCS #8) and
`both.pem`, the key readable to the one user who needs it. All are made in one run, because the authority's key is
forgotten at its end; a run that finds every one of them good for another month changes nothing.
"""

import ipaddress
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID: Final = timedelta(days=365)
RENEW: Final = timedelta(days=30)
"""With less than this left, the next start makes every certificate anew."""

PUBLIC: Final = "public"
"""The folder that holds only what everybody may see: the authority's own certificate."""


@dataclass(frozen=True, slots=True)
class Service:
    """Whose certificate it is, the names it answers to, and the user (uid) who reads the key."""

    name: str
    names: Sequence[str]
    user: int


SERVICES: Final = (
    Service("api", ("api", "localhost", "127.0.0.1"), 10001),
    Service("data", ("data",), 999),
    Service("keyring", ("keyring",), 999),
    Service("index", ("index", "localhost"), 1000),
    Service("queue", ("queue", "localhost"), 1000),
    Service("consume", (), 10001),
    Service("producer", (), 10001),
)


def good(root: Path, now: datetime) -> bool:
    """Whether every certificate is there, from one authority, and valid for a while yet."""
    try:
        authority = (root / PUBLIC / "ca.pem").read_bytes()
        for service in SERVICES:
            folder = root / service.name
            found = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
            found.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
            if (folder / "ca.pem").read_bytes() != authority or found.not_valid_after_utc < now + RENEW:
                return False
            if not (folder / "key.pem").stat().st_size or not (folder / "both.pem").stat().st_size:
                return False
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    return True


def make(root: Path, now: datetime) -> None:
    """Make the authority and every certificate, and forget the authority's key."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _signed("Textkeep throw-away authority", (), key, key, None, now)
    ca = authority.public_bytes(Encoding.PEM)
    (root / PUBLIC).mkdir(exist_ok=True)
    _write(root / PUBLIC / "ca.pem", ca, 0o444)
    for service in SERVICES:
        own = ec.generate_private_key(ec.SECP256R1())
        signed = _signed(service.name, service.names, own, key, authority, now).public_bytes(Encoding.PEM)
        private = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        folder = root / service.name
        folder.mkdir(exist_ok=True)
        _write(folder / "ca.pem", ca, 0o444)
        _write(folder / "cert.pem", signed, 0o444)
        _write(folder / "key.pem", private, 0o400, service.user)
        _write(folder / "both.pem", private + signed, 0o400, service.user)


def _signed(
    name: str,
    names: Sequence[str],
    own: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate | None,
    now: datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.subject if authority else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=0 if authority is None else None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False)
        .add_extension(_usage(signs=authority is None), True)
    )
    if authority is not None:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        built = built.add_extension(x509.ExtendedKeyUsage(both), False)
    if names:
        built = built.add_extension(x509.SubjectAlternativeName([_alternative(each) for each in names]), False)
    return built.sign(by, SHA256())


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, content: bytes, mode: int, user: int | None = None) -> None:
    """Write a file whole, with its mode; for its user, where this process may give files away."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(descriptor, mode)
        if user is not None and os.geteuid() == 0:
            os.fchown(descriptor, user, -1)
        os.fsync(descriptor)
    beside.replace(path)


if __name__ == "__main__":
    folder, moment = Path(sys.argv[1]), datetime.now(UTC)
    if not good(folder, moment):
        make(folder, moment)
        print("certificates: made, valid for a year")  # noqa: T201
