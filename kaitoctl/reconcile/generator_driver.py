"""Carry out what a generator yields: it decides and does no I/O, here its requests are sent.

Reconcilers, forecasts and changes of adapters are such generators; tests drive the same ones with every fault
at every position.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol, TypeVar

from kaitoctl.errors import ApiError, KaitoctlError, Unreachable
from kaitoctl.kube.objects import Object
from kaitoctl.kube.request import Request

T = TypeVar("T")


class Sender(Protocol):
    """Carries out requests: a `kube.client.Client`, or whoever answers in its place (`dry_run.DryRun`)."""

    async def send(self, request: Request, /) -> Object:
        """Carry out one request and return the object that answers it."""
        ...


async def drive(
    client: Sender,
    generator: Generator[Request, Object, T],
    *,
    allowed: Callable[[], bool] | None = None,
    wrote: Callable[[Request, Object], None] | None = None,
) -> T:
    """Carry out the requests that a generator yields, and return what it returns.

    ApiError and Unreachable are thrown into the generator, which may deal with them or let them pass.

    Args:
        client: where to send them.
        generator: yields requests and is sent the objects that answer them.
        allowed: asked before each request; False ends it all.
        wrote: called with each write, and what it was answered with.

    Guarantee: the generator is closed afterwards, also when this is cancelled.

    Raises:
        KaitoctlError: `allowed` said no; and whatever the generator raises.
    """
    try:
        request = next(generator)
        while True:
            if allowed is not None and not allowed():
                raise KaitoctlError("stopped before a request: no longer the leader")
            try:
                answer = await client.send(request)
            except (ApiError, Unreachable) as error:
                request = generator.throw(error)
            else:
                if wrote is not None and request.is_write:
                    wrote(request, answer)
                request = generator.send(answer)
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        generator.close()
