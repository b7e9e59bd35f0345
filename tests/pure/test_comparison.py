"""What a plan would change, as people are told."""

from __future__ import annotations

import copy
from typing import Any

from kaitoctl.kube.objects import DEPLOYMENT, SERVICE, Kind, Object, key_of, owner_reference
from kaitoctl.reconcile.comparison import MASK, Comparison, between, changes, compare
from kaitoctl.reconcile.planner import Child, plan

OWNER: Object = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "metadata": {"namespace": "ns", "name": "w", "uid": "u-1", "generation": 1},
}
NAMES = {"manager": "us", "annotation_prefix": "x.dev"}


def deployment(image: str = "a:1", replicas: int = 2) -> Object:
    pod = {"spec": {"containers": [{"name": "main", "image": image}]}}
    spec = {"replicas": replicas, "template": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": "ns", "name": "w"},
        "spec": spec,
    }


def service() -> Object:
    metadata = {"namespace": "ns", "name": "w"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"type": "ClusterIP"}}


def live(manifest: Object, *, generation: int = 1) -> Object:
    """As the server has it after the controller's own plan."""
    owner = {**OWNER, "metadata": {**OWNER["metadata"], "generation": generation}}
    (step,) = plan(owner, [Child(DEPLOYMENT, manifest)], [], **NAMES).steps
    made: Object = copy.deepcopy(step.request.body)
    made["metadata"]["uid"] = "u-2"
    made["status"] = {"replicas": dig_replicas(manifest)}
    return made


def dig_replicas(manifest: Object) -> int:
    return int(manifest["spec"].get("replicas", 0))


def fates(wanted: list[tuple[Kind, Object]], observed: list[tuple[Kind, Object]]) -> list[Comparison]:
    children = [Child(kind, obj) for kind, obj in wanted]
    planned = plan(OWNER, children, observed, **NAMES)
    return compare(planned, [(kind, key_of(obj)) for kind, obj in wanted], observed, **NAMES)


def test_what_is_as_wanted_is_unchanged() -> None:
    (found,) = fates([(DEPLOYMENT, deployment())], [(DEPLOYMENT, live(deployment()))])
    assert (found.fate, found.differences, found.restarts) == ("unchanged", (), 0)


def test_a_change_of_nothing_but_the_stamps_is_no_change() -> None:
    old = live(deployment())
    old["metadata"]["annotations"] = {"x.dev/desired-hash": "old", "x.dev/owner-generation": "0"}
    (found,) = fates([(DEPLOYMENT, deployment())], [(DEPLOYMENT, old)])
    assert found.fate == "unchanged"


def test_a_change_in_the_pod_template_restarts_all_pods() -> None:
    (found,) = fates([(DEPLOYMENT, deployment("a:2"))], [(DEPLOYMENT, live(deployment("a:1")))])
    assert (found.fate, found.restarts) == ("changed", 2)
    assert list(found.differences) == [
        ("spec.template.spec.containers[name=main].image", "a:1", "a:2"),
    ]


def test_a_change_of_the_number_restarts_none() -> None:
    (found,) = fates([(DEPLOYMENT, deployment(replicas=3))], [(DEPLOYMENT, live(deployment()))])
    assert (found.fate, found.restarts) == ("changed", 0)


def test_what_is_missing_is_created_and_what_is_superfluous_deleted() -> None:
    found = fates([(SERVICE, service())], [(DEPLOYMENT, live(deployment()))])
    assert [(item.kind, item.fate) for item in found] == [(SERVICE, "created"), (DEPLOYMENT, "deleted")]


def test_what_belongs_to_somebody_else_is_told_and_left() -> None:
    theirs = service()
    other = {**OWNER, "kind": "StatefulSet", "metadata": {**OWNER["metadata"], "uid": "u-9", "name": "db"}}
    theirs["metadata"]["ownerReferences"] = [owner_reference(other)]
    (found,) = fates([(SERVICE, service())], [(SERVICE, theirs)])
    assert (found.fate, found.controller) == ("foreign", "StatefulSet db")


def owned_by(manager: str, fields: dict[str, Any]) -> list[Object]:
    return [{"manager": manager, "operation": "Apply", "fieldsV1": fields}]


def test_a_field_that_we_own_and_no_longer_want_is_removed_and_those_of_others_are_not() -> None:
    wanted = service()
    present = copy.deepcopy(wanted)
    present["spec"] |= {"externalName": "ours", "sessionAffinity": "theirs"}
    present["metadata"]["managedFields"] = owned_by("us", {"f:spec": {"f:type": {}, "f:externalName": {}}})
    assert list(changes(wanted, present, manager="us")) == [("spec.externalName", "ours", None)]


def test_values_of_secrets_are_never_shown() -> None:
    def secret(**data: str) -> Object:
        name = {"namespace": "ns", "name": "s", "labels": {"n": str(len(data))}}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": name, "data": data}

    found = changes(secret(a="new", b="hidden"), secret(a="old"), manager="us")
    assert list(found) == [
        ("data.a", MASK, MASK),
        ("data.b", None, MASK),
        ("metadata.labels.n", "1", "2"),
    ]


def test_between_two_states_both_additions_and_removals_count_and_bookkeeping_does_not() -> None:
    old, new = deployment(), deployment()
    old["metadata"] |= {"resourceVersion": "1", "generation": 1, "labels": {"gone": "x"}}
    new["metadata"] |= {"resourceVersion": "2", "generation": 2}
    new["spec"]["paused"] = True
    assert list(between(old, new)) == [
        ("metadata.labels.gone", "x", None),
        ("spec.paused", None, True),
    ]
