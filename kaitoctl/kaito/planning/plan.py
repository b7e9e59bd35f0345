"""What applying some manifests would do: data, its JSON form, its exit code. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct, field

from kaitoctl.advice import Advice, text
from kaitoctl.errors import ExitCode
from kaitoctl.kaito.planning.loading import Loading
from kaitoctl.kaito.planning.outage import Outage
from kaitoctl.kaito.prices import Prices
from kaitoctl.kube.objects import Object, ObjectKey, dig

Fate = Literal["created", "changed", "recreated", "unchanged", "refused"]

_KIND = {"apiVersion": "kaitoctl.dev/v1", "kind": "Plan"}
GIVEN = "manifests"
"""In a plan that is kept: the options that named the manifests."""


class Change(Struct, frozen=True):
    """What becomes of one object of the manifests.

    Args:
        kind: `Workspace` or `ConfigMap`.
        key: which one.
        source: where it is written: the file, and the number of the document in it.
        fate: what applying does with it; one that must be recreated is refused like those that are refused.
        fields: path, old and new value of each field that changes.
        takes_away: whether something that is there now is not there then.
        problems: why it is refused.
        warnings: what is accepted, and should be known.
        outage: the pods that restart, and for how long nothing serves.
        nodes_asked: how many nodes are asked for.
        nodes_most: how many it may become, where `rivals` take some of them.
        rivals: other Workspaces that can use the same nodes, and move at the same time.
        way: how a Workspace gets what cannot be changed; empty where that is not asked.
        loading: what its model takes when it starts.
        instance_type: of those nodes.
        returned: what is released: the NodeClaims, and their nodes.
        returned_perhaps: what of it stays when the scheduler places the pods there.
        deadlock: why the new pod waits for ever for the GPUs of the old one; empty when it does not.
        unsized: why `nodes_asked` or more are asked for, and nobody knows how many; empty when that is known.
        waits: what it would wait for; empty when nothing is missing.
        breaks: why the new pods do not serve what is asked of them; empty when nothing is known.
        body: what is sent to the server.
        uncertain: what nobody could look at; empty when all was seen.
        seen: uid, generation and resourceVersion of the object as it was; empty when there was none.
    """

    kind: str
    key: ObjectKey
    source: str
    fate: Fate
    fields: tuple[tuple[str, Any, Any], ...] = ()
    takes_away: bool = False
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    outage: Outage = field(default_factory=Outage)
    nodes_asked: int = 0
    instance_type: str = ""
    returned: tuple[str, ...] = ()
    deadlock: Advice = ""
    waits: str = ""
    body: Object = field(default_factory=dict)
    seen: Mapping[str, str] = field(default_factory=dict)
    nodes_most: int = 0
    rivals: tuple[str, ...] = ()
    uncertain: str = ""
    way: Advice = ""
    loading: Loading | None = None
    returned_perhaps: tuple[str, ...] = ()
    breaks: Advice = ""
    unsized: Advice = ""

    @property
    def title(self) -> str:
        """`Workspace default/phi`; of one that has no name only the kind."""
        return f"{self.kind} {self.key}" if self.key.name else self.kind

    @property
    def restarts(self) -> str:
        """Whether pods restart, in words."""
        pods = self.outage.pods
        if self.uncertain and not pods:
            return "pods may restart"
        return "1 pod restarts" if pods == 1 else f"{pods} pods restart" if pods else "no pod restarts"

    @property
    def is_written(self) -> bool:
        """Whether applying writes it."""
        return self.fate in ("created", "changed")

    @property
    def wants_consent(self) -> bool:
        """Whether something stops, is taken away, or is bought."""
        costs = bool(self.outage.pods or self.returned or self.nodes_most or self.unsized)
        harms = bool(self.deadlock or self.breaks or self.uncertain)
        return self.is_written and (costs or harms or self.takes_away)


class Plan(Struct, frozen=True):
    """What applying all of it does.

    Args:
        manager: who manages Workspaces in the cluster: `kaitoctl`, or a release of KAITO.
        changes: an entry for each ConfigMap and Workspace, in the order in which they are written.
        skipped: the objects of other kinds.
    """

    manager: str
    changes: tuple[Change, ...]
    skipped: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[Change, ...]:
        """The entries for which nothing is written at all."""
        return tuple(change for change in self.changes if change.fate in ("refused", "recreated"))

    @property
    def written(self) -> tuple[Change, ...]:
        """The entries that applying writes."""
        return tuple(change for change in self.changes if change.is_written)

    @property
    def nodes_asked(self) -> Mapping[str, int]:
        """How many nodes are asked for, by instance type."""
        found: Counter[str] = Counter()
        for change in self.changes:
            if change.nodes_asked:
                found[change.instance_type] += change.nodes_asked
        return dict(sorted(found.items()))

    @property
    def is_unsized(self) -> bool:
        """Whether more nodes may be asked for than anybody can count here."""
        return any(change.unsized for change in self.written)

    @property
    def pods_restarted(self) -> int:
        """How many pods are recreated."""
        return sum(change.outage.pods for change in self.written)

    @property
    def exit_code(self) -> int:
        """2 when something is refused, 1 when something changes, 0 when all is as it should be."""
        if self.refused:
            return ExitCode.BAD_INPUT
        return ExitCode.NEGATIVE if self.written else ExitCode.DONE

    @property
    def nodes_most(self) -> Mapping[str, int]:
        """How many nodes it may become, by instance type, where rivals take some."""
        found: Counter[str] = Counter()
        for change in self.changes:
            if change.nodes_most:
                found[change.instance_type] += change.nodes_most
        return dict(sorted(found.items()))

    def as_json(self, prices: Prices | None = None) -> Object:
        """The plan as `-o json` writes it; `--out` keeps it, without what things cost today."""
        cost = {} if prices is None or not prices.per_hour else {"costPerHour": self._cost(prices)}
        return {
            **cost,
            **_KIND,
            "manager": self.manager,
            "changes": [_plain(change) for change in self.changes],
            "skipped": list(self.skipped),
            "nodesAsked": dict(self.nodes_asked),
            "podsRestarted": self.pods_restarted,
            "refused": len(self.refused),
        }

    def _cost(self, prices: Prices) -> Object:
        asked, unknown = prices.total(self.nodes_asked.items())
        most, _ = prices.total(self.nodes_most.items())
        return {
            "nodesAsked": round(asked, 4),
            "nodesAtMost": None if self.is_unsized else round(most, 4),
            "currency": prices.currency,
            "withoutPrice": list(unknown),
            "source": prices.source,
            "date": prices.date,
        }


def _plain(change: Change) -> Object:
    return {
        "kind": change.kind,
        "namespace": change.key.namespace,
        "name": change.key.name,
        "source": change.source,
        "fate": change.fate,
        "fields": [{"path": path, "old": old, "new": new} for path, old, new in change.fields],
        "takesAway": change.takes_away,
        "problems": list(change.problems),
        "warnings": list(change.warnings),
        "podsRestarted": change.outage.pods,
        "outage": {
            "interrupts": change.outage.interrupts,
            "expectedSeconds": change.outage.expected_s,
            "mostSeconds": change.outage.most_s,
        },
        "nodesAsked": change.nodes_asked,
        "nodesAtMost": None if change.unsized else change.nodes_most,
        "rivals": list(change.rivals),
        "instanceType": change.instance_type,
        "nodesReturned": list(change.returned),
        "nodesReturnedPerhaps": list(change.returned_perhaps),
        "deadlock": text(change.deadlock),
        "breaks": text(change.breaks),
        "waitsFor": change.waits,
        "uncertain": change.uncertain,
        "unsized": text(change.unsized),
        "recreate": text(change.way),
        "modelLoadMostSeconds": change.loading.most_s if change.loading else None,
        "contextTokens": change.loading.context if change.loading else None,
        "body": change.body,
        "seen": dict(change.seen),
    }


def is_plan(value: object) -> bool:
    """Whether a document is a plan that `--out` has written, with all that applying it needs."""
    if not isinstance(value, dict) or any(value.get(key) != text for key, text in _KIND.items()):
        return False
    changes, given = value.get("changes"), value.get(GIVEN, [])
    if not (isinstance(given, list) and all(isinstance(word, str) for word in given)):
        return False
    return isinstance(changes, list) and all(
        isinstance(item, dict)
        and all(isinstance(item.get(name), str) for name in ("kind", "namespace", "name", "source"))
        and isinstance(item.get("body"), dict)
        and isinstance(item.get("seen"), dict)
        and item.get("fate") in _FATES
        for item in changes
    )


_FATES = ("created", "changed", "recreated", "unchanged", "refused")
# What somebody has agreed to; a resourceVersion also moves with each status that a controller writes.
_AGREED = (
    "fields",
    "podsRestarted",
    "nodesAsked",
    "nodesAtMost",
    "instanceType",
    "nodesReturned",
    "deadlock",
    "uncertain",
)


def what_moved(kept: Object, now: Plan) -> list[str]:
    """In what a plan that was kept is no longer what would happen; empty when it still is.

    Args:
        kept: as `as_json` wrote it.
        now: the plan for the same manifests, of the cluster as it is.
    """
    found: list[str] = []
    before = {(item["kind"], item["namespace"], item["name"]): item for item in kept["changes"]}
    after = {(item["kind"], item["namespace"], item["name"]): item for item in now.as_json()["changes"]}
    for identity, new in after.items():
        kind, namespace, name = identity
        title, old = f"{kind} {namespace}/{name}", before.get(identity)
        if old is None:
            found.append(f"{title} is not in the plan")
            continue
        found += _differences(title, old, new)
    found += [f"{kind} {space}/{name} is gone" for kind, space, name in before.keys() - after.keys()]
    return found


def _differences(title: str, old: Object, new: Object) -> Iterable[str]:
    was, now = old.get("seen") or {}, new["seen"]
    if was.get("uid") != now.get("uid"):
        words = "exists now" if not was else "is gone" if not now else "is another object of this name"
        yield f"{title} {words}"
        return  # all else follows from that
    if was.get("generation") != now.get("generation"):
        yield f"{title} has been changed (generation {was.get('generation')} -> {now.get('generation')})"
    if old.get("fate") != new["fate"]:
        yield f"{title} would be {new['fate']}, and not {old.get('fate')}"
    for name in _AGREED:
        if old.get(name) != new[name]:
            yield f"{title}: {name} was {_short(old.get(name))}, is {_short(new[name])}"
    if old.get("podsRestarted") and new["outage"]["interrupts"] and not dig(old, "outage", "interrupts"):
        yield f"{title}: nothing serves while its pods restart; others were to keep serving"


def _short(value: object) -> str:
    if not isinstance(value, list):
        return str(value) or "nothing"
    return "1 entry" if len(value) == 1 else f"{len(value)} entries"
