"""A write whose outcome is known: when the connection breaks before the answer, look what became of it.

An apply may be sent again: it sets the same fields to the same values. So may a merge patch that is the same
to the letter, such as that of a restart, which holds its time; and a deletion that names the uid of what it
means. What must not happen is that nobody can say whether an object exists, for it may be buying GPU nodes
already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from kaitoctl.advice import Command
from kaitoctl.errors import ApiError, KaitoctlError, Unreachable
from kaitoctl.kube import refusal_hints, request
from kaitoctl.screens import output

if TYPE_CHECKING:
    from kaitoctl.advice import Advice
    from kaitoctl.kube.client import Client
    from kaitoctl.kube.objects import Kind, Object, ObjectKey
    from kaitoctl.kube.request import Request

_TRIES = 5
_BUDGET_S = 15.0
_FIRST_REST_S = 0.25
_LONGEST_REST_S = 4.0
# These may have been carried out all the same, and may pass.
_UNCERTAIN = frozenset({500, 502, 503, 504})


async def sent(
    client: Client,
    asked: Request,
    kind: Kind,
    key: ObjectKey,
    *,
    is_done: Callable[[Object | None], bool],
    word: str,
) -> Object:
    """Send a write, and go on trying while the server comes and goes; then say what became of it.

    Args:
        client: the API client.
        asked: an apply, a merge patch, or a deletion of just the object that was seen.
        kind: of the object.
        key: of the object.
        is_done: given the object as it is (None when there is none): whether the write was carried out.
        word: what it does, such as `created`, `changed`, `deleted` or `restarted`.

    Returns:
        The server's answer; where that was lost, the object as it is, empty when it is gone.

    Raises:
        ApiError: the server refused.
        Unreachable: it is gone; the message says whether the write was carried out, if that is known.
    """
    loop = asyncio.get_running_loop()
    until, rest_s, may_have_arrived = loop.time() + _BUDGET_S, _FIRST_REST_S, False
    while True:
        try:
            return await client.send(asked)
        except (Unreachable, ApiError) as error:
            if not _is_uncertain(error):
                if may_have_arrived and isinstance(error, ApiError) and error.status == 409:
                    now, is_seen = await _look(client, kind, key)  # perhaps by our own first try
                    if is_seen and is_done(now):
                        return _found_done(now, kind, key, word)
                raise
            may_have_arrived = may_have_arrived or not _was_never_sent(error)
            failure = error
        is_known = not may_have_arrived
        if asked.is_write and may_have_arrived:
            found, is_known = await _look(client, kind, key)
            if is_known and is_done(found):
                return _found_done(found, kind, key, word)
        if loop.time() + rest_s > until:
            raise _with_outcome(failure, asked, kind, key, word, is_known=is_known)
        await asyncio.sleep(rest_s)
        rest_s = min(2 * rest_s, _LONGEST_REST_S)


async def while_as_seen(
    seen: Object,
    write: Callable[[Object], Awaitable[Object]],
    look: Callable[[], Awaitable[Object | None]],
    *,
    about: str,
    hint: Advice,
) -> Object:
    """Write what holds for one version of an object; a status that moves meanwhile is no obstacle.

    Args:
        seen: the object, or what `write` needs of it.
        write: sends what is to be.
        look: gives the object as it is now; None when that is another than was shown.
        about: the object, in words.
        hint: for whom somebody else has been faster.

    Raises:
        ApiError: the server refuses; a conflict when somebody else has changed or deleted it.
    """
    for tries in range(1, _TRIES + 1):
        try:
            return await write(seen)
        except ApiError as error:
            if not refusal_hints.is_stale(error):
                raise
            now = await look()
            if tries == _TRIES or now is None:
                words = f"somebody else has changed, replaced or deleted {about} meanwhile"
                raise ApiError(409, "Conflict", words, hint=hint) from error
            seen = now
    raise AssertionError("the last try returns or raises")


def _is_uncertain(error: KaitoctlError) -> bool:
    if isinstance(error, ApiError):
        return error.status in _UNCERTAIN and refusal_hints.refusal_kind(error) in (
            "unwell",
            "not-the-server",
        )
    return True


def _was_never_sent(error: KaitoctlError) -> bool:
    """Whether nobody took the connection, so that nothing can have come of it."""
    return isinstance(error.__cause__, ConnectionRefusedError)


async def _look(client: Client, kind: Kind, key: ObjectKey) -> tuple[Object | None, bool]:
    """The object, None when there is none; and whether that is known."""
    try:
        return await client.send(request.get(kind, key.namespace, key.name)), True
    except ApiError as error:
        return None, error.status == 404 and not error.is_unknown_resource
    except Unreachable:
        return None, False


def _found_done(found: Object | None, kind: Kind, key: ObjectKey, word: str) -> Object:
    output.warning(f"the connection broke before the answer; {kind.kind} {key} was {word}")
    return found or {}


def _with_outcome(
    error: KaitoctlError, asked: Request, kind: Kind, key: ObjectKey, word: str, *, is_known: bool
) -> KaitoctlError:
    """The failure, with what is known of the object."""
    if not asked.is_write:
        return error
    look = Command("kubectl get", f"{kind.plural}.{kind.group}".rstrip("."), key.name, "-n", key.namespace)
    if is_known:
        error.message += f"; {kind.kind} {key} was not {word}"
    else:
        error.message += f"; whether {kind.kind} {key} was {word} is unknown"
        error.may_be_done = True
        error.hint = "once the server answers: " + look + " shows it; the same command again is safe"
    return error
