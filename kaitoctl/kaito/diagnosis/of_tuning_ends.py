"""How the containers of a tuning Job end that fetch the data (an init container) or push the result.

Source: curl 8 docs/libcurl/libcurl-errors (exit codes, and the words after `curl: (N)`); BusyBox wget; moby
and oras v1.2 (push); KAITO v0.3, v0.4 preset_tuning (data-downloader, docker-sidecar), v0.12 (pusher).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kaitoctl.kaito.diagnosis import of_logs
from kaitoctl.kaito.diagnosis.of_images import NO_IMAGE, UNAUTHORIZED
from kaitoctl.kube.objects import Object, dig

_URLS = "correct tuning.input.urls"
_NETWORK = "check whether pods may reach that host: DNS, a firewall, a proxy, NetworkPolicies"
_FETCHES = (
    (
        r"returned error: (?P<code>404|410)\b|HTTP/[\d.]+ (?P<other>404|410)\b|ERROR (?P<third>404|410)\b",
        "it answers {code}: there is no such file",
        _URLS,
    ),
    (
        r"returned error: (?P<code>40[13])\b|HTTP/[\d.]+ (?P<other>40[13])\b|ERROR (?P<third>40[13])\b",
        "it answers {code}: it may not be read without credentials",
        "give a URL that anybody may read (with a signature, say), or the data as tuning.input.image",
    ),
    (
        r"returned error: (?P<code>429|5\d\d)\b|HTTP/[\d.]+ (?P<other>429|5\d\d)\b",
        "its server answers {code}",
        "try again later: delete the Job, and it is created again",
    ),
    (r"returned error: (?P<code>\d{3})\b", "it answers {code}", _URLS),
    (
        r"Could not resolve host: (?P<code>\S{1,253})|bad address",
        "the name of its host is not resolved",
        _NETWORK,
    ),
    (
        r"Failed to connect to|Connection refused|No route to host|Couldn't connect",
        "its host is not reached",
        _NETWORK,
    ),
    (r"timed out|timeout", "its host does not answer in time", _NETWORK),
    (
        r"SSL certificate problem|self.signed certificate|certificate",
        "the certificate of its host is not trusted",
        "use a URL whose certificate the image knows; a corporate proxy (TLS inspection) may be between",
    ),
    (
        r"(?i)no space left|Failed writing|Failure writing|write error|client returned ERROR on write",
        "there is no room for it on the node's disk",
        "take nodes with a larger disk, or less data",
    ),
    (
        r"URL rejected|Malformed|neither http nor https|Unsupported protocol",
        "it is no address that can be asked",
        _URLS,
    ),
    (r"nothing came from", "it is empty", _URLS),
)
# By the code alone, where the log is gone; the number of the row in _FETCHES that means the same.
_CODES = {22: 3, 6: 4, 7: 5, 28: 6, 60: 7, 23: 8, 3: 9}
_URL = re.compile(r"(?:Downloading|fetching|nothing came from|http nor https:) (?P<url>\S{1,400})")
_PUSHES = (
    (
        UNAUTHORIZED,
        "the registry denies the push of {image}",
        "let tuning.output.imagePushSecret{secret} name a Secret whose account may push there",
    ),
    (
        r"(?i)x509|certificate",
        "the certificate of the registry of {image} is not trusted",
        "push to a registry whose certificate the image of the container knows",
    ),
    (
        r"(?i)no such host|dial tcp|i/o timeout|connection refused|Temporary failure in name resolution",
        "the registry of {image} is not reached",
        _NETWORK,
    ),
    (
        r"(?i)no space left on device",
        "there is no room on the node's disk to build {image}",
        "take nodes with a larger disk",
    ),
    (
        NO_IMAGE,
        "the registry has no repository for {image}",
        "create the repository first, or correct tuning.output.image",
    ),
)


class Told(NamedTuple):
    """Why a container ended: a sentence, what to do, and the line that says so."""

    message: str
    hint: str
    line: str


def why_ended(workspace: Object, log: str, code: int, *, fetches: bool) -> Told | None:
    """Why the data could not be fetched, or the result not be pushed; None where nothing known is said.

    Args:
        workspace: which tunes.
        log: of the container.
        code: its exit code.
        fetches: whether it fetches the data; else it pushes.
    """
    return _fetch(workspace, log, code) if fetches else _push(workspace, log)


def _fetch(workspace: Object, log: str, code: int) -> Told | None:
    if dig(workspace, "tuning", "input", "urls") is None:
        return None
    lines = [line for line in log.splitlines() if line.strip()]
    for line in reversed(lines):
        for pattern, says, hint in _FETCHES:
            if found := re.search(pattern, line):
                number = next(filter(None, found.groupdict().values()), "")
                what = says.format(code=number)
                return Told(
                    f"fetching {_asked(workspace, log)} fails: {what}", hint, of_logs.printable_line(line)
                )
    if lines or (row := _CODES.get(code)) is None:
        return None
    says, hint = _FETCHES[row][1:]
    what = says.format(code="with an error")
    return Told(f"fetching {_asked(workspace, log)} fails: {what} (curl's exit code {code})", hint, "")


def _asked(workspace: Object, log: str) -> str:
    """The URL that was asked last, or all of them; without what may be a secret in their queries."""
    told = [found["url"] for found in _URL.finditer(log)]
    urls = told[-1:] or [str(url) for url in dig(workspace, "tuning", "input", "urls") or ()]
    return ", ".join(url.partition("?")[0] for url in urls) or "the data"


def _push(workspace: Object, log: str) -> Told | None:
    image = str(dig(workspace, "tuning", "output", "image") or "")
    if not image:
        return None
    name = str(dig(workspace, "tuning", "output", "imagePushSecret") or "")
    for line in reversed(log.splitlines()):
        for pattern, says, hint in _PUSHES:
            if re.search(pattern, line):
                secret = f" ({name})" if name else ""
                return Told(
                    says.format(image=image), hint.format(secret=secret), of_logs.printable_line(line)
                )
    return None
