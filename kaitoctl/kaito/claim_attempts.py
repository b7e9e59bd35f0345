"""Which NodeClaims were asked for while a Workspace waits for nodes, how often and when. Pure.

Karpenter deletes claims that it finds no capacity for, and nothing is left of them. So it stands in a
condition of the Workspace, in words that people read, too: patience outlives the controller and costs no
write of its own, as asking changes the status anyway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from kaitoctl.kaito import api
from kaitoctl.kube import conditions
from kaitoctl.kube.objects import Object


class ClaimAttempts(Struct, frozen=True):
    """How often a NodeClaim was asked for while its Workspace waited, and when last."""

    times: int
    at: datetime

    @property
    def patience_s(self) -> float:
        """How long it is decent to wait before asking again: 30 s, doubling, ten minutes at most."""
        return min(30.0 * float(2 ** (min(self.times, 10) - 1)), 600.0)

    @property
    def again_at(self) -> datetime:
        """When it is decent to ask again."""
        return self.at + timedelta(seconds=self.patience_s)

    def wait_s(self, now: datetime) -> float:
        """Seconds until then, 0 when it is past.

        A moment that is yet to come says that the clock was set back since: by a little, and nobody waits for
        longer than without that; by more, and how long it has been cannot be told, so it is past.
        """
        left_s = (self.again_at - now).total_seconds()
        return 0.0 if left_s > 2 * self.patience_s else max(0.0, min(left_s, self.patience_s))


_ROUND = re.compile(r"(?:(\d{1,6}) times, last )?at (\S+): ((?:ws[0-9a-f]{9} ?)+)")


def attempts_of(workspace: Object) -> dict[str, ClaimAttempts]:
    """What was asked for, as the Workspace's own status tells; what is not ours to read is left out."""
    found: dict[str, ClaimAttempts] = {}
    told = conditions.find(workspace, api.NODE_CLAIMS_ASKED) or {}
    for times, at, listed in _ROUND.findall(str(told.get("message") or "")):
        try:
            moment = conditions.parse_timestamp(at)
        except ValueError:
            continue
        found.update(dict.fromkeys(listed.split(), ClaimAttempts(int(times or 1), moment)))
    return found


def asked_words(asked: Mapping[str, ClaimAttempts]) -> str:
    """What `asked_of` reads: `at 2026-01-01T00:00:00Z: ws0123abcde; 3 times, last at ...: ws...`."""
    rounds: dict[tuple[int, datetime], list[str]] = {}
    for name, one in sorted(asked.items()):
        rounds.setdefault((one.times, one.at), []).append(name)
    return "; ".join(
        f"{f'{times} times, last ' if times > 1 else ''}at {conditions.timestamp(at)}: {' '.join(listed)}"
        for (times, at), listed in sorted(rounds.items())
    )
