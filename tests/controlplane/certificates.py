"""A certificate authority for one test session: who the API server is, and who its users are."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = timedelta(days=1)
_SKEW = timedelta(minutes=5)


class Pair(NamedTuple):
    """Two PEM files that belong together."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates into a folder, and is itself the file `ca.crt` there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("kaitoctl tests")
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        own = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / "ca.crt"
        self.certificate.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def server(
        self,
        name: str,
        hosts: Sequence[str] = ("localhost", "kubernetes.default.svc", "127.0.0.1"),
        *,
        expired: bool = False,
    ) -> Pair:
        """For a server, by default on loopback."""
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        until = datetime.now(UTC) - timedelta(minutes=1) if expired else None
        return self._issue(name, _name(name), ExtendedKeyUsageOID.SERVER_AUTH, names, until=until)

    def client(self, user: str, groups: Sequence[str] = ()) -> Pair:
        """For a user, as Kubernetes reads it: the common name is the user, each organization a group."""
        return self._issue(user.replace(":", "-"), _name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(
        self,
        file: str,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        *extensions: x509.ExtensionType,
        until: datetime | None = None,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, self._name, key.public_key(), until)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        made = Pair(self._folder / f"{file}.crt", self._folder / f"{file}.key")
        made.certificate.write_bytes(
            builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        write_key(made.key, key)
        return made


def write_key(file: Path, key: ec.EllipticCurvePrivateKey | None = None) -> Path:
    """Write a private key, a new one when none is given, for the owner's eyes only."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return file


def _name(common: str, organizations: Sequence[str] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    return x509.Name(
        [*parts, *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, item) for item in organizations)]
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    until: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(until or now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
