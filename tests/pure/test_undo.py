"""Undo: which revision, what is applied for it, what others keep, what restarts."""

from __future__ import annotations

from typing import Any

import pytest
from builders import adapter, workspace
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kaito import revisions, undo
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kube.objects import Object, annotations_of, apply_merge_patch

CAUSE = "kubernetes.io/change-cause"


def owned(obj: Object, manager: str, fields: Object, *, operation: str = "Apply") -> Object:
    """The object with one more entry in its managedFields."""
    entry = {"manager": manager, "operation": operation, "fieldsV1": fields}
    entries = [*(obj["metadata"].get("managedFields") or ()), entry]
    return {**obj, "metadata": {**obj["metadata"], "managedFields": entries}}


def with_adapters(*names: str, **changes: Any) -> Object:
    return workspace(inference={"adapters": [adapter(name) for name in names]}, **changes)


def history(*specs: Object) -> list[Object]:
    return [revisions.revision(obj, number) for number, obj in enumerate(specs, 1)]


ALL: Object = {"f:resource": {}, "f:inference": {"f:preset": {"f:name": {}}, "f:adapters": {}}}


def test_without_a_number_it_is_the_one_before_or_the_last_that_was_applied() -> None:
    past = history(with_adapters("a"), with_adapters("b"))
    assert undo.choose(past, with_adapters("b"), None) is past[0]
    assert undo.choose(past, with_adapters("never", "applied"), None) is past[1]
    assert undo.choose(past, with_adapters("b"), 2) is past[1]
    assert undo.choose(past, with_adapters("b"), 3) is None
    assert undo.choose(past[:1], with_adapters("a"), None) is None
    assert undo.choose([], with_adapters("a"), None) is None


def test_what_the_manager_owns_is_named_and_what_the_revision_lacks_is_not() -> None:
    live = owned(with_adapters("a"), "kaitoctl", ALL)
    goal = undo.goal_of(live, history(workspace())[0])
    made = undo.manifest(live, goal, "kaitoctl")
    assert made["inference"] == {"preset": {"name": "falcon-7b"}}
    assert made["resource"] == workspace()["resource"]
    assert made["metadata"] == {"name": "falcon", "namespace": "default", "uid": "ws-uid"}


def test_what_others_own_is_named_only_where_it_differs() -> None:
    live = owned(with_adapters("a"), "kubectl", ALL)
    same = undo.manifest(live, live, "kaitoctl")
    assert "inference" not in same and "resource" not in same
    goal = undo.goal_of(live, history(with_adapters("b"))[0])
    assert undo.manifest(live, goal, "kaitoctl")["inference"] == {"adapters": [adapter("b")]}


def test_labels_and_annotations_of_the_managers_own_stay() -> None:
    metadata = {"labels": {"team": "a"}, "annotations": {"kaito.sh/runtime": "vllm", "note": "x"}}
    fields: Object = {
        "f:metadata": {
            "f:labels": {"f:team": {}},
            "f:annotations": {"f:note": {}, "f:kaito.sh/runtime": {}},
        }
    }
    live = owned(workspace(metadata=metadata), "kaitoctl", fields)
    made = undo.manifest(live, undo.goal_of(live, history(workspace())[0]), "kaitoctl")
    assert made["metadata"]["labels"] == {"team": "a"}
    assert made["metadata"]["annotations"] == {"note": "x"}


def test_an_atomic_map_is_named_whole() -> None:
    selector = {"labelSelector": {"matchLabels": {"apps": "falcon-7b", "zone": "1"}}}
    live = workspace()
    goal = undo.goal_of(live, history(workspace(resource=selector))[0])
    assert undo.manifest(live, goal, "kaitoctl")["resource"] == selector


def test_what_is_left_is_told_with_its_owners() -> None:
    live = owned(with_adapters("a"), "kubectl-edit", {"f:inference": {"f:adapters": {}}}, operation="Update")
    rest = undo.remainder(live, workspace())
    assert rest == {"inference": {"adapters": None}}
    assert undo.owners(live, rest) == [("inference.adapters", ["kubectl-edit"])]


def test_an_annotation_of_somebody_elses_is_left_and_nothing_else_of_the_metadata() -> None:
    metadata = {"annotations": {"kaito.sh/enablelb": "True", "note": "x"}}
    fields: Object = {"f:metadata": {"f:annotations": {".": {}, "f:kaito.sh/enablelb": {}, "f:note": {}}}}
    live = owned(workspace(metadata=metadata), "kubectl-annotate", fields, operation="Update")
    rest = undo.remainder(live, undo.goal_of(live, history(workspace())[0]))
    assert rest == {"metadata": {"annotations": {"kaito.sh/enablelb": None}}}
    assert undo.owners(live, rest) == [("metadata.annotations.kaito.sh/enablelb", ["kubectl-annotate"])]


def test_a_default_that_nobody_owns_is_not_left() -> None:
    live = workspace()
    goal = workspace()
    del goal["inference"]["preset"]["accessMode"]
    assert undo.remainder(live, goal) == {}


@pytest.mark.parametrize(
    ("recorded", "present", "cause"),
    [
        ("try a", "try b", "try a"),
        ("", "try b", "kaitoctl rollout undo falcon --to-revision=1"),
        ("try a", "", "try a"),
        ("", "", None),
    ],
)
def test_the_change_cause_is_true_afterwards(recorded: str, present: str, cause: str | None) -> None:
    def caused(text: str) -> Object:
        return workspace(metadata={"annotations": {CAUSE: text} if text else {}})

    live = caused(present)
    goal = undo.goal_of(live, history(caused(recorded))[0])
    assert annotations_of(goal).get(CAUSE) == cause


@pytest.mark.parametrize(
    ("live", "goal", "words"),
    [
        (with_adapters("a"), workspace(), "1 pod restarts"),
        (workspace(), workspace(resource={"preferredNodes": ["n"]}), "no pod restarts"),
        (workspace(inference={"preset": {"name": "of v0.12"}}), workspace(), "pods may restart"),
    ],
)
def test_it_says_what_restarts(live: Object, goal: Object, words: str) -> None:
    assert undo.consequence(live, goal, SHIPPED) == words


def test_to_take_back_what_was_never_applied_restarts_nothing() -> None:
    past = history(workspace(), with_adapters("a"))
    refused = with_adapters("b", "b")
    assert undo.consequence(refused, undo.goal_of(refused, past[1]), SHIPPED, past) == "no pod restarts"
    assert undo.consequence(refused, undo.goal_of(refused, past[0]), SHIPPED, past) == "1 pod restarts"


def test_a_revision_in_a_few_words() -> None:
    (one,) = history(with_adapters("a", "b", metadata={"annotations": {"kaito.sh/runtime": "vllm"}}))
    words = "falcon-7b, 1 x Standard_NC12s_v3, adapter a=0.2, adapter b=0.2, kaito.sh/runtime=vllm"
    assert undo.summary(one) == words
    pod = {"spec": {"containers": [{"name": "c", "image": "r.example/c:1"}]}}
    (custom,) = history({**workspace(), "inference": {"template": pod}})
    assert undo.summary(custom) == "custom pod, r.example/c:1, 1 x Standard_NC12s_v3"
    assert undo.summary({"data": {"inference": [], "resource": None}}) == "1 x any"


_JSON = st.recursive(
    st.none() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_PARTS = st.dictionaries(st.sampled_from("abc"), _JSON.filter(lambda value: value is not None), max_size=3)


def _owner_of_all(value: Any) -> Object:
    return (
        {f"f:{key}": _owner_of_all(inner) for key, inner in value.items()} if isinstance(value, dict) else {}
    )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return value


@given(_PARTS, _PARTS)
def test_the_remainder_leads_from_any_state_to_any_other(old: Object, new: Object) -> None:
    before, after = ({**workspace(), "inference": _without_nulls(part)} for part in (old, new))
    live = owned(before, "somebody", _owner_of_all({"inference": before["inference"]}))
    assert (
        apply_merge_patch(before["inference"], undo.remainder(live, after).get("inference", {}))
        == after["inference"]
    )


@pytest.mark.parametrize("live_options", [None, {}])
@pytest.mark.parametrize("kept_options", [None, {}])
def test_empty_options_of_a_preset_which_kaito_writes_are_no_difference(
    live_options: Object | None, kept_options: Object | None
) -> None:
    """KAITO v0.12's revision of `inference.preset` has `presetOptions: {}`, whatever its Workspace has."""

    def asks(options: Object | None, *names: str) -> Object:
        preset = {"name": "phi-4", **({} if options is None else {"presetOptions": options})}
        adapters = {"adapters": [adapter(name) for name in names]} if names else {}
        return workspace(inference={"preset": preset, **adapters})

    live = owned(asks(live_options, "a"), "workspace", {"f:inference": {"f:preset": {"f:presetOptions": {}}}})
    kept = [
        {"revision": 1, "data": {**revisions.data_of(asks(kept_options)), "tuning": None}},
        {"revision": 2, "data": {**revisions.data_of(asks(kept_options, "a")), "tuning": None}},
    ]
    assert revisions.has_same_data(kept[1], live) and not revisions.has_same_data(kept[0], live)
    chosen = undo.choose(kept, live, None)
    assert chosen is kept[0]
    goal = undo.goal_of(live, {**chosen, "metadata": {"name": "falcon-1"}})
    assert goal["inference"] == asks(live_options)["inference"]
    assert "presetOptions" not in str(undo.remainder(live, goal))


def test_options_that_say_something_are_a_difference() -> None:
    live = workspace(inference={"preset": {"name": "phi-4", "presetOptions": {"modelAccessSecret": "token"}}})
    kept = {"revision": 1, "data": revisions.data_of(workspace(inference={"preset": {"name": "phi-4"}}))}
    assert not revisions.has_same_data(kept, live)
    goal = undo.goal_of(live, {**kept, "metadata": {"name": "falcon-1"}})
    assert "presetOptions" not in goal["inference"]["preset"]
