"""What a failed TLS handshake means: a table from OpenSSL's reasons to what to look at. Pure.

Source: OpenSSL 3 `ssl/ssl_err.c` (reasons) and `crypto/x509/x509_txt.c` (verify codes); RFC 8446, section 6.2
(alerts).
"""

from __future__ import annotations

import ssl

_CLOCK = "the server's certificate is not valid at this time: check the clock here, or have it renewed there"
_ANOTHER_CA = "the kubeconfig's CA is not the one that has signed the server's certificate"
_NAME = (
    "the server's certificate is for another name: use an address that it has, or set the kubeconfig's "
    "tls-server-name"
)
_OURS = "the server does not accept the kubeconfig's client certificate: log in again, or have it renewed"
_PLAIN = "the server does not use TLS: check the port, and whether it should be http://"
_OLD = "the server supports only TLS older than 1.2, which is insecure"
_CUT = "the connection was cut while TLS began: a proxy, a firewall or a load balancer without a backend?"

_VERIFY_CODES = {
    9: _CLOCK,
    10: _CLOCK,
    18: _ANOTHER_CA,
    19: _ANOTHER_CA,
    20: _ANOTHER_CA,
    21: _ANOTHER_CA,
    62: _NAME,
    64: _NAME,
}
_REASONS = {
    "WRONG_VERSION_NUMBER": _PLAIN,
    "HTTP_REQUEST": _PLAIN,
    "HTTPS_PROXY_REQUEST": _PLAIN,
    "PACKET_LENGTH_TOO_LONG": _PLAIN,
    "RECORD_LAYER_FAILURE": _PLAIN,
    "UNKNOWN_PROTOCOL": _PLAIN,
    "UNSUPPORTED_PROTOCOL": _OLD,
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD,
    "NO_PROTOCOLS_AVAILABLE": _OLD,
    "UNEXPECTED_EOF_WHILE_READING": _CUT,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "no cipher in common, or the server requires a client certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": _OURS,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _OURS,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": _OURS,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _OURS,
    "TLSV1_ALERT_UNKNOWN_CA": _OURS,
    "TLSV1_ALERT_ACCESS_DENIED": _OURS,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _OURS,
    "TLSV1_UNRECOGNIZED_NAME": _NAME,
}


def hint_of(error: OSError) -> str:
    """What to look at; of what no row describes, that TLS did not come about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_CODES.get(error.verify_code, _ANOTHER_CA)
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        return _CUT
    reason = getattr(error, "reason", None) or ""
    return _REASONS.get(
        reason, "the TLS handshake failed: check the server's certificate, and the proxies before it"
    )
