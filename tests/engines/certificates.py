"""A throw-away certificate authority, and what it signs for engines that answer on 127.0.0.1."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

PASSWORD = "throw-away"
"""Of every key store; the key in it is worth nothing once the tests are over."""


@dataclass(frozen=True)
class Certified:
    """Files of one server: its authority's certificate, and its own with the key, as PEM and as PKCS #12."""

    ca: Path
    pem: Path
    keystore: Path


def certify(folder: Path, name: str = "localhost") -> Certified:
    """Make an authority and a server's certificate for `name` and 127.0.0.1, in `folder`."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Textkeep's tests")])
    signer = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    authority = (
        _begun(issuer, issuer, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signer, critical=False)
        .add_extension(_usage(signs=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        _begun(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), issuer, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer), critical=False)
        .add_extension(_usage(signs=False), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    made = Certified(folder / "ca.pem", folder / "server.pem", folder / "server.p12")
    made.ca.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    made.pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    locked = serialization.BestAvailableEncryption(PASSWORD.encode())
    made.keystore.write_bytes(pkcs12.serialize_key_and_certificates(b"server", key, certificate, [authority], locked))
    return made


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
