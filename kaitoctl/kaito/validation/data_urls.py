"""Which URLs of data KAITO v0.12 admits: Go's reading of a URL, and what that release forbids. Pure.

Source: KAITO v0.12.0 `api/v1beta1/workspace_validation.go` (validateDataSourceURL); Go 1.26
`net/url/url.go` (ParseRequestURI, parseAuthority, parseHost, unescape), `net/ip.go`.
"""

from __future__ import annotations

import ipaddress
import re

_METADATA_HOSTS = ("metadata.google.internal", "metadata.google", "instance-data.ec2.internal")
_PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
_USER = re.compile(r"(?:[A-Za-z0-9\-._:~!$&'()*+,;=@]|%[0-9A-Fa-f]{2})*")
# What stands in a host as it is; of what is escaped only bytes beyond ASCII, and the percent of a zone.
_HOST = re.compile(r"(?:[A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>\"]|[^\x00-\x7f]|%25|%[89A-Fa-f][0-9A-Fa-f])*")
_ZONE = re.compile(r"(?:[A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>\"]|[^\x00-\x7f]|%[0-9A-Fa-f]{2})*")
_PORT = re.compile(r"(?::[0-9]*)?")


def data_url_fault(text: str) -> str:
    """Why the webhook of KAITO v0.12 refuses a URL of data, empty when it admits it."""
    shown = repr(text[:80])
    host = _host(text)
    if host is None:
        return f"{shown} is not an http or https URL"
    host = host.lower()
    if host == "localhost" or host.endswith(".localhost") or host in _METADATA_HOSTS:
        return f"{shown} leads to a local or metadata endpoint"
    if _is_inside(host.partition("%")[0]):
        return f"{shown} leads to a loopback, private or link-local address"
    return ""


def _host(text: str) -> str | None:
    """The host of a web address, without port and brackets, as Go reads it; None where it refuses."""
    found = re.match(r"(?i)https?:(?P<rest>.*)", text, re.DOTALL)
    if found is None or re.search(r"[\x00-\x1f\x7f]", text):
        return None
    plain = found["rest"].partition("?")[0]
    if not plain.startswith("//"):
        return None
    authority, slash, path = plain[2:].partition("/")
    if re.search(r"%(?![0-9A-Fa-f]{2})", slash + path):
        return None
    user, _, place = authority.rpartition("@")
    if not _USER.fullmatch(user) or not place:
        return None
    return _bracketed(place) if "[" in place else _named(place)


def _named(place: str) -> str | None:
    host, colon, port = place.partition(":")
    if not _PORT.fullmatch(colon + port) or not _HOST.fullmatch(host):
        return None
    return re.sub(r"%25", "%", host)


def _bracketed(place: str) -> str | None:
    inside, bracket, port = place[1:].rpartition("]")
    address, percent, zone = inside.partition("%25")
    if place[0] != "[" or not bracket or not _PORT.fullmatch(port) or not _ZONE.fullmatch(zone):
        return None
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return None
    return None if percent and not zone else address + ("%" + zone if zone else "")


def _is_inside(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    is_private = any(mapped in net for net in _PRIVATE if net.version == mapped.version)
    octets = mapped.packed
    is_group = (
        octets[:3] == b"\xe0\x00\x00" if mapped.version == 4 else octets[0] == 255 and octets[1] & 15 == 2
    )
    return is_private or is_group or mapped.is_loopback or mapped.is_link_local
