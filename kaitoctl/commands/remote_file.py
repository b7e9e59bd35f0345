"""Manifests of the Web: fetched whole within limits, as kubectl fetches them.

Proxies are those of the environment. A server that is in trouble is asked three times. From https nothing
leads to http, and a name and password in the URL go to its own host alone.
"""

from __future__ import annotations

import base64
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import IO, Any

from kaitoctl.errors import InputError

_TIMEOUT_S = 30
_TRIES = 3
_PAUSE_S = 1.0


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows what stays as safe as it was."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme != "https" and scheme != req.type:
            raise urllib.error.URLError(f"it leads from {req.type} to {scheme}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(url: str, *, where: str, most: int) -> bytes:
    """What a URL has.

    Args:
        url: http or https.
        where: how errors name it.
        most: bytes that are read.

    Raises:
        InputError: it cannot be fetched.
    """
    opener = urllib.request.build_opener(_Redirects)
    for tries in range(1, _TRIES + 1):
        try:
            with opener.open(_request(url), timeout=_TIMEOUT_S) as answer:
                found: bytes = answer.read(most)
                return found
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 or tries == _TRIES:
                raise InputError(f"{where}: the server answers {error.code} {error.reason}") from None
        except urllib.error.URLError as error:
            reason = error.reason
            words = getattr(reason, "strerror", None) or reason
            raise InputError(f"{where}: {'no answer in time' if words == 'timed out' else words}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise InputError(f"{where}: {_words(error)}") from None
        time.sleep(_PAUSE_S)
    raise AssertionError("the last try returns or raises")


def _request(url: str) -> urllib.request.Request:
    parts = urllib.parse.urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    bare = urllib.parse.urlunsplit(parts._replace(netloc=host, fragment=""))
    request = urllib.request.Request(bare, headers={"User-Agent": "kaitoctl", "Accept": "*/*"})  # noqa: S310 - http or https: `files.is_url`
    if login:
        token = base64.b64encode(urllib.parse.unquote(login).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_TIMEOUT_S} seconds"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer ended before its time"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
