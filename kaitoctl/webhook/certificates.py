"""The webhook's certificate: made, judged, renewed. The one module that needs `cryptography`.

A certificate authority signs one certificate and is forgotten: nobody can sign another with it. The Secret
holds the certificate, its key, and as `ca.crt` the authority that signed it and the one before, so that
replicas that still show the old certificate are trusted while the new one goes round.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from kaitoctl.kube.objects import Object, dig

LIFETIME = timedelta(days=90)
RENEWED_BEFORE = timedelta(days=30)
_SKEW = timedelta(minutes=5)


class Certificate(Struct, frozen=True):
    """A serving certificate in PEM.

    Args:
        authorities: who has signed it, and perhaps the one before.
        chain: the certificate.
        key: its private key; never shown.
        ends: when it does.
    """

    authorities: bytes
    chain: bytes
    key: bytes
    ends: datetime

    def __repr__(self) -> str:
        return f"Certificate(ends={self.ends:%Y-%m-%d})"

    @property
    def data(self) -> dict[str, str]:
        """What the Secret of type kubernetes.io/tls holds."""
        parts = {"ca.crt": self.authorities, "tls.crt": self.chain, "tls.key": self.key}
        return {name: base64.b64encode(value).decode() for name, value in parts.items()}


def make(hosts: Sequence[str], now: datetime, before: Certificate | None = None) -> Certificate:
    """A new certificate for these names and addresses; the authority of the one before stays trusted."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"kaitoctl-webhook {now:%Y-%m-%dT%H:%M:%S}")]
    )
    ends = now + LIFETIME

    def build(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(authority_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(ends)
        )

    authority = (
        build(authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    certificate = (
        build(x509.Name([]), key.public_key())
        .add_extension(names, critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    own = authority.public_bytes(pem)
    previous = [one.public_bytes(pem) for one in _certificates(before.authorities)[:1]] if before else []
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Certificate(b"".join([own, *previous]), certificate.public_bytes(pem), secret, ends)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def of_secret(secret: Object | None) -> Certificate | None:
    """The certificate that a Secret holds; None when it holds none that can be read."""
    try:
        authorities, chain, key = (
            base64.b64decode(dig(secret or {}, "data", name) or "", validate=True)
            for name in ("ca.crt", "tls.crt", "tls.key")
        )
        serialization.load_pem_private_key(key, password=None)
        certificate, _ = _certificates(chain)[0], _certificates(authorities)[0]
    except (ValueError, TypeError, IndexError):
        return None
    return Certificate(authorities, chain, key, certificate.not_valid_after_utc)


def is_good(certificate: Certificate, hosts: Sequence[str], now: datetime) -> bool:
    """Whether it is for all of these names, signed by its authority, with its key, and not about to end."""
    (served, *_), (authority, *_) = map(_certificates, (certificate.chain, certificate.authorities))
    try:
        served.verify_directly_issued_by(authority)
        names = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = serialization.load_pem_private_key(certificate.key, password=None)
    except Exception:  # what is wrong with it does not matter: another one is made
        return False
    if key.public_key() != served.public_key():
        return False
    is_for_all = {_general_name(host) for host in hosts} <= set(names)
    return is_for_all and served.not_valid_before_utc <= now < certificate.ends - RENEWED_BEFORE


def _certificates(pem: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem)


def now() -> datetime:
    """The time that certificates are judged by."""
    return datetime.now(UTC)
