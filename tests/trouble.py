"""Clusters in which something is wrong, from files of tests/data/trouble, to be changed and looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from builders import slices_of

from kaitoctl.kaito.diagnosis import Diagnosis, diagnose
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.snapshot import Snapshot
from kaitoctl.kube.objects import Object

WORLDS = Path(__file__).parent / "data" / "trouble"
NOW = datetime(2026, 11, 28, 17, tzinfo=UTC)
_PARTS = {
    "Deployment": "workloads",
    "StatefulSet": "workloads",
    "ReplicaSet": "replica_sets",
    "Pod": "pods",
    "Job": "jobs",
    "Service": "services",
    "EndpointSlice": "slices",
    "Node": "nodes",
    "Event": "events",
    "NodeClaim": "claims",
}


class World:
    """Objects of a file, to be changed before they are looked at."""

    def __init__(self, name: str) -> None:
        docs = yaml.load_all((WORLDS / f"{name}.yaml").read_text(), yaml.CSafeLoader)
        self.objects: list[Any] = [item for item in docs if item]
        for item in self.objects:
            item["metadata"].setdefault("uid", f"uid-{item['kind']}-{item['metadata']['name']}")

    def __getitem__(self, kind: str) -> Any:
        return next(item for item in self.objects if item["kind"] == kind)

    def without(self, *kinds: str) -> World:
        self.objects = [item for item in self.objects if item["kind"] not in kinds]
        return self

    def event(
        self, reason: str, message: str, *, of: str = "Pod", kind: str = "Warning", **more: Any
    ) -> World:
        about = self[of]
        involved = {"kind": of, "name": about["metadata"]["name"], "uid": about["metadata"]["uid"]}
        self.objects.append(
            {
                "kind": "Event",
                "metadata": {"name": f"e{len(self.objects)}"},
                "involvedObject": involved,
                "reason": reason,
                "message": message,
                "type": kind,
                "lastTimestamp": "2026-11-28T16:55:00Z",
                **more,
            }
        )
        return self

    def seen(self, **more: Any) -> Snapshot:
        """What is there, with the EndpointSlice that Kubernetes writes unless one is given."""
        parts: dict[str, list[Object]] = {}
        for item in self.objects:
            if item["kind"] in _PARTS:
                parts.setdefault(_PARTS[item["kind"]], []).append(item)
        found: dict[str, Any] = {key: tuple(value) for key, value in parts.items()}
        main = next(iter(parts.get("services", ())), None)
        found.setdefault("slices", slices_of(main, parts.get("pods", ())))
        return Snapshot(self["Workspace"], **{**found, **more})

    def diagnosis(self, **more: Any) -> Diagnosis:
        return diagnose(self.seen(**more), NOW)

    def cause(self, **more: Any) -> Cause:
        found = self.diagnosis(**more)
        assert not found.is_ready
        assert found.cause is not None
        return found.cause
