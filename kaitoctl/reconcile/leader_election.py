"""Holds a Lease, and runs the work for exactly as long as it is held.

Every write carries the resource version it is based on, so that of two who try, one succeeds. Clocks of
different machines are never compared: a lease has expired when *we* have not seen it change for its
duration. As with every lease, two leaders at once are unlikely and not impossible; what the work writes
needs preconditions of its own.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TypeVar

from kaitoctl.errors import ApiError, KaitoctlError
from kaitoctl.kube import request
from kaitoctl.kube.client import Client
from kaitoctl.kube.objects import LEASE, Object, dig
from kaitoctl.kube.request import Request

logger = logging.getLogger(__name__)

T = TypeVar("T")


class LeaderElection:
    """One candidate for one Lease.

    Args:
        client: of the cluster.
        namespace: where the Lease is.
        name: of the Lease.
        identity: who we are; two candidates must never share one.
        lease_duration_s: how long others wait after our last sign of life before they take over.
        renew_deadline_s: how long we go on working without a successful renewal; shorter than the duration.
        retry_period_s: between two tries to take or to renew.
        labels: of the Lease, by which it is found.
        notes: annotations of the Lease: what is told of whoever holds it.

    Source of the default figures: client-go, `leaderelection.go`, as kube-controller-manager uses them.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        lease_duration_s: float = 15,
        renew_deadline_s: float = 10,
        retry_period_s: float = 2,
        labels: Mapping[str, str] = MappingProxyType({}),
        notes: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        if not lease_duration_s > renew_deadline_s > retry_period_s > 0:
            raise ValueError("a lease needs: duration > renew deadline > retry period > 0")
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._marks = {"labels": dict(labels), "annotations": dict(notes)}
        self._lease_duration_s = lease_duration_s
        self._renew_deadline_s = renew_deadline_s
        self._retry_period_s = retry_period_s
        self._lease: Object | None = None  # as last seen
        self._seen_at = 0.0  # when we saw it change
        self._held_since = 0.0  # when the last successful claim was sent
        self._leading = False
        self._may_hold = False  # also while the answer to a claim is unknown

    @property
    def is_leader(self) -> bool:
        """Whether we may write at this moment; False also when an overdue renewal was not noticed yet."""
        return self._leading and self._now() < self._held_since + self._renew_deadline_s

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Wait for the Lease, run `work` while it is held, and return its result.

        When the Lease is lost, `work` is cancelled and, once it has ended, the waiting starts again: `work`
        may be called several times.

        Guarantee: when the work ends, crashes or is cancelled, the Lease is given back at once.

        Raises:
            whatever `work` raises.
        """
        try:
            while True:
                await self._acquire()
                logger.info("leading %s", self._name, extra=self._fields())
                working = asyncio.ensure_future(work())
                renewing = asyncio.create_task(self._renew())
                try:
                    await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
                    if working.done():
                        return working.result()
                    self._leading = self._may_hold = False
                    logger.warning("lost the lead of %s; stopping the work", self._name, extra=self._fields())
                    working.cancel()
                    await asyncio.wait({working})
                    if not working.cancelled():
                        return working.result()
                    renewing.result()
                finally:
                    # Renewed until the work has really ended: nobody else may start before.
                    working.cancel()
                    await asyncio.gather(working, return_exceptions=True)
                    renewing.cancel()
                    await asyncio.gather(renewing, return_exceptions=True)
                    self._leading = False
        finally:
            if self._may_hold:
                self._may_hold = False
                await self._release()

    async def _acquire(self) -> None:
        while True:
            if await self._try():
                self._leading = True
                return
            await asyncio.sleep(self._retry_period_s * (1 + random.random() / 5))

    async def _renew(self) -> None:
        """Renew until that is no longer possible: somebody else has it, or the deadline passes."""
        try:
            while self._holder() in ("", self._identity):
                async with asyncio.timeout_at(self._held_since + self._renew_deadline_s):
                    await asyncio.sleep(self._retry_period_s)
                    await self._try()
        except TimeoutError:
            return

    async def _try(self) -> bool:
        """`_claim`, with trouble logged."""
        try:
            return await self._claim()
        except KaitoctlError as error:
            logger.warning("lease %s: %s", self._name, error, extra=self._fields())
            return False

    async def _claim(self) -> bool:
        """One try to become or to remain the holder."""
        began = self._now()
        if not (self._leading and self._holder() == self._identity):
            await self._read()
            if self._holder() not in ("", self._identity) and not self._has_expired():
                return False
        try:
            self._may_hold = True
            self._see(await self._client.send(self._claim_request()))
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            self._may_hold = self._leading
            await self._read()  # somebody wrote or removed it: whose it is now, the next try judges
            return False
        self._held_since = began
        return True

    def _claim_request(self) -> Request:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = dig(self._lease, "spec") or {}
        spec = {
            **before,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._lease_duration_s)),
            "renewTime": now,
        }
        if self._holder() != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(before.get("leaseTransitions") or 0) + (self._lease is not None)
        return self._write(spec)

    def _write(self, spec: Object) -> Request:
        metadata: Object = {"namespace": self._namespace, "name": self._name}
        if self._lease is not None:
            metadata = self._lease["metadata"]  # with the resource version that the write depends on
        marks = {key: {**(metadata.get(key) or {}), **marks} for key, marks in self._marks.items() if marks}
        metadata = {**metadata, **marks}
        lease = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}
        if self._lease is None:
            return request.create(LEASE, lease)
        return Request("PUT", LEASE.path(self._namespace, self._name), body=lease)

    async def _read(self) -> None:
        try:
            self._see(await self._client.send(request.get(LEASE, self._namespace, self._name)))
        except ApiError as error:
            if error.status != 404:
                raise
            self._lease = None

    def _see(self, lease: Object) -> None:
        if dig(lease, "metadata", "resourceVersion") != dig(self._lease, "metadata", "resourceVersion"):
            self._seen_at = self._now()
        self._lease = lease

    def _holder(self) -> str:
        return str(dig(self._lease, "spec", "holderIdentity") or "")

    def _has_expired(self) -> bool:
        duration_s = float(dig(self._lease, "spec", "leaseDurationSeconds") or self._lease_duration_s)
        return self._now() >= self._seen_at + duration_s

    async def _release(self) -> None:
        """Give the Lease back, so that the next one need not wait; trouble is only logged."""
        try:
            async with asyncio.timeout(self._retry_period_s * 2):
                await self._read()  # an abandoned renewal may have succeeded
                if self._lease is not None and self._holder() == self._identity:
                    spec = {**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                    self._see(await self._client.send(self._write(spec)))
        except (KaitoctlError, TimeoutError) as error:
            logger.warning(
                "lease %s is left to expire: %s", self._name, str(error) or "no answer", extra=self._fields()
            )

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _fields(self) -> dict[str, object]:
        return {"lease": f"{self._namespace}/{self._name}", "identity": self._identity}
