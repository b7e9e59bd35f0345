"""The admission policy on a real API server: each rule says what `validate` says, case by case."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from controlplane.plane import ControlPlane
from controlplane.webhooks import as_in_space
from pure.test_kaito_answers import CODE_ROWS, ROWS
from pure.test_review import GOOD, WRONG
from shell import BIN, Shell

from kaitoctl.kaito import admission_policy, validation
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kaito.validation import OWN, Problem, Setting
from kaitoctl.kube.objects import Object

SPACE = "judged-by-a-policy"
KIND = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
RULES = admission_policy.rules(SHIPPED)
_WARNING = re.compile(r'299 - "((?:[^"\\]|\\.)*)"')


def applied(plane: ControlPlane, action: str) -> None:
    """The policy, in the namespace of these tests alone."""
    policy, binding = admission_policy.policy(SHIPPED)
    binding["spec"]["validationActions"] = [action]
    selector = {"matchLabels": {"kubernetes.io/metadata.name": SPACE}}
    binding["spec"]["matchResources"] = {"namespaceSelector": selector}
    plane.apply(policy)
    plane.apply(binding)


@pytest.fixture(scope="module")
def policed(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    applied(control_plane, "Warn")
    deadline = time.monotonic() + 60
    while not asked(control_plane, as_in_space(SPACE, WRONG, "probe"))[1]:
        assert time.monotonic() < deadline, "the API server does not know the policy"
        time.sleep(0.1)
    yield control_plane
    for kind in (KIND, f"{KIND[:-3]}ybindings"):
        control_plane.send("DELETE", f"{kind}/{admission_policy.NAME}")
    control_plane.send("DELETE", f"/api/v1/namespaces/{SPACE}")


def asked(plane: ControlPlane, workspace: Object, old: Object | None = None) -> tuple[int, list[str], Object]:
    """The status of a write that is not kept, what the policy has warned of, and the answer."""
    version = workspace["apiVersion"].rpartition("/")[2]
    path = f"/apis/kaito.sh/{version}/namespaces/{SPACE}/workspaces"
    connection = plane.connection()
    try:
        method, where = ("POST", path) if old is None else ("PUT", f"{path}/{workspace['metadata']['name']}")
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request(method, f"{where}?dryRun=All", json.dumps(workspace).encode(), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        given = ",".join(response.headers.get_all("Warning") or ())
        warnings = [found.replace('\\"', '"') for found in _WARNING.findall(given)]
        return response.status, [one for one in warnings if admission_policy.NAME in one], answer
    finally:
        connection.close()


def has_changed(before: Object, after: Object) -> bool:
    """Whether there is something to judge: what stands there already is let through, as by the webhook."""
    parts = ("resource", "inference", "tuning")
    notes = [one["metadata"].get("annotations") for one in (before, after)]
    return notes[0] != notes[1] or any(before.get(part) != after.get(part) for part in parts)


def said(rule: admission_policy.Rule, warnings: list[str]) -> bool:
    return any(one.endswith(rule.words) for one in warnings)


def covers(rule: admission_policy.Rule, problem: Problem) -> bool:
    path = re.sub(r"\[\d+\]", "[]", problem.path)
    return problem.severity == "error" and problem.code == rule.code and path.startswith(rule.path)


def compared(workspace: Object, old: Object | None, warnings: list[str]) -> list[Any]:
    problems = validation.judge(workspace, Setting(OWN), old=old)
    errors = [one for one in problems if one.severity == "error"]
    unsaid = [one for one in warnings if not any(one.endswith(rule.words) for rule in RULES)]
    wrong: list[Any] = [("no verdict", one) for one in unsaid]
    for rule in RULES:
        mine = any(covers(rule, problem) for problem in errors)
        if mine != said(rule, warnings) and not (mine and rule.partly):
            wrong.append((rule.words, mine, [one.text for one in errors]))
    return wrong


def creations() -> list[Object]:
    found = [row.get("manifest") or row["workspace"] for row in (*ROWS, *CODE_ROWS)]
    served = [one for one in found if one.get("apiVersion") in ("kaito.sh/v1alpha1", "kaito.sh/v1beta1")]
    return list({json.dumps(one, sort_keys=True): one for one in [*served, *drawn()]}.values())


def drawn() -> Iterator[Object]:
    """What the measured cases have too few of: each is one change to a Workspace that is right."""

    def changed(path: str, value: Any) -> Object:
        made: Object = json.loads(json.dumps(GOOD))
        *parents, last = path.split(".")
        at = made
        for name in parents:
            at = at.setdefault(name, {})
        at[last] = value
        return made

    for name in ("a" * 63, "a" * 64, "1a", "a.b"):
        yield changed("metadata.name", name)
    for machine in SHIPPED.instance_types:
        yield changed("resource.instanceType", machine)
    for preset in (*SHIPPED.presets, *SHIPPED.model_names(), "PHI-4", "Falcon-7b", "nobody/knows", ""):
        for count in (1, 3):
            made = changed("inference.preset", {"name": preset})
            made["resource"]["count"] = count
            yield made
            made = changed("inference.preset", {"name": preset, "accessMode": "private"})
            made["resource"]["instanceType"] = "Standard_NC96ads_A100_v4"
            yield {**made, "metadata": {"name": "b" * 58, "namespace": "d"}}
    for labels in (
        {"A_b": "c"},
        {"-a": "b"},
        {"a/b/c": "d"},
        {"a.io/b": ""},
        {"a" * 64: "b"},
        {"a": "b" * 64},
    ):
        yield changed("resource.labelSelector.matchLabels", labels)
    for nodes in (["a"], ["A"], ["a.b", "-"], ["a" * 254]):
        yield changed("resource.preferredNodes", nodes)
    for strength in (
        "0",
        "1",
        "1.0",
        ".5",
        "5.",
        "+0.5",
        "-0",
        "1e-3",
        "1e999",
        "2",
        "nan",
        "0x1p-1",
        " 1",
        "",
        "-1",
    ):
        style = {"name": "style", "image": "registry.example/style:1"}
        yield changed("inference.adapters", [{"source": style, "strength": strength}])
    images = ("", "a", "A", "a/b", "a.io/b:1", "a:b:c", "<image>", "${X}", "YOUR_x", "x@sha256:1", "x" * 1100)
    for image in images:
        source: Object = {
            "name": "style",
            "image": image,
            "imagePullSecrets": ["a", "B"][: 1 + len(image) % 2],
        }
        yield changed("inference.adapters", [{"source": source, "strength": "1"}])
        options: Object = {"image": image, "imagePullSecrets": ["-"], "modelAccessSecret": "a..b"}
        yield changed(
            "inference.preset", {"name": "llama-2-7b", "accessMode": "private", "presetOptions": options}
        )
        tuning: Object = {
            "preset": {"name": "phi-2"},
            "method": "lora",
            "input": {"image": image, "imagePullSecrets": ["A"]},
        }
        made = changed("tuning", {**tuning, "output": {"image": image or "a.io/b:1", "imagePushSecret": "A"}})
        del made["inference"]
        yield made
    chosen: Object = {"image": "A", "imagePullSecrets": ["-"]}
    for more in ({"presetOptions": chosen}, {"accessMode": "private"}, {"name": "llama-2-7b"}):
        tuning = {
            "preset": {"name": "phi-2", **more},
            "method": "lora",
            "input": {"urls": ["https://a.example/b"]},
        }
        made = changed("tuning", {**tuning, "output": {"image": "a.io/b:1", "imagePushSecret": "a"}})
        del made["inference"]
        yield made
    for names in (["w"], ["a", "a"], ["A"], [""], ["a" * 63, "b" * 64]):
        sources = [{"name": name, "image": "registry.example/style:1"} for name in names]
        yield changed("inference.adapters", [{"source": source, "strength": "1"} for source in sources])


def edits() -> Iterator[tuple[Object, Object]]:
    """What each change begins with and ends in."""
    for row in (*ROWS, *CODE_ROWS):
        if row.get("old"):
            yield row["old"], row.get("manifest") or row["workspace"]
    data = {"name": "a", "urls": ["https://a.example/b"]}
    output = {"image": "a.io/b:1", "imagePushSecret": "a"}
    tuning = {"preset": {"name": "phi-2"}, "method": "lora", "input": data, "output": output}
    tuned = {key: value for key, value in GOOD.items() if key != "inference"} | {"tuning": tuning}
    for change in (
        {"method": "qlora"},
        {"input": {**data, "name": "b"}},
        {"input": {**data, "urls": ["https://a.example/c"]}},
        {"preset": {"name": "falcon-7b"}},
        {"preset": {"name": "phi-2", "presetOptions": {"image": ""}}},
        {"preset": {"name": "phi-2", "presetOptions": {"image": "a.io/b:1"}}},
    ):
        yield tuned, {**tuned, "tuning": {**tuning, **change}}
    yield GOOD, tuned
    yield tuned, GOOD


def test_each_rule_says_of_new_workspaces_what_validate_says(policed: ControlPlane) -> None:
    different, counts = [], Counter[str]()
    for manifest in creations():
        made = as_in_space(SPACE, manifest)
        status, warnings, _ = asked(policed, made)
        if status in (400, 422):  # by what Go cannot decode, its schema or its name: no policy was asked
            assert any(one.severity == "error" for one in validation.judge(made, Setting(OWN))), made
            continue
        assert status == 201, (status, made)
        counts.update(rule.words for rule in RULES if said(rule, warnings))
        if any(one.code == "KW105" for one in validation.judge(made, Setting(OWN))):
            continue  # values of a wrong type, which count as none there, and as there for a policy
        different += [(made, *wrong) for wrong in compared(made, None, warnings)]
    assert different == [], [one[1:] for one in different]
    never = {rule.words for rule in RULES if not counts[rule.words] and "isUpdate" not in rule.holds}
    assert never == set(), "no case breaks these"


def test_each_rule_says_of_changes_what_validate_says(policed: ControlPlane) -> None:
    different, counts = [], Counter[str]()
    for number, (before, after) in enumerate(edits()):
        old, new = (as_in_space(SPACE, one, f"w{number}") for one in (before, after))
        path = f"/apis/{old['apiVersion']}/namespaces/{SPACE}/workspaces"
        status, stored = policed.send("POST", path, old)
        if status != 201:
            continue
        new["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
        status, warnings, answer = asked(policed, new, old)
        policed.do("DELETE", f"{path}/w{number}")
        if status == 422:
            continue
        if not has_changed(stored, answer):
            assert warnings == []
            continue
        counts.update(rule.words for rule in RULES if said(rule, warnings))
        del new["metadata"]["resourceVersion"]
        different += [(old, new, *wrong) for wrong in compared(new, old, warnings)]
    assert different == []
    never = {rule.words for rule in RULES if not counts[rule.words] and "isUpdate" in rule.holds}
    assert never == set(), "no case breaks these"


def test_kubectl_shows_the_rule_and_good_workspaces_are_written(
    policed: ControlPlane, tmp_path: Path
) -> None:
    applied(policed, "Deny")
    shell = Shell(tmp_path, cluster={"KUBECONFIG": str(policed.kubeconfig)})
    kubectl = [str(BIN / "kubectl"), f"--kubeconfig={shell.kubeconfig}", "apply", "-f"]
    (tmp_path / "bad.yaml").write_text(json.dumps(as_in_space(SPACE, WRONG, "bad")))
    (tmp_path / "good.yaml").write_text(json.dumps(as_in_space(SPACE, GOOD, "good")))
    deadline = time.monotonic() + 60
    while (done := shell.run(*kubectl, "bad.yaml")).returncode == 0:
        assert time.monotonic() < deadline
        shell.run(*kubectl[:2], "delete", "-f", "bad.yaml")
    assert "KW142 inference.preset.name: is not a preset or model of the catalog" in done.stderr
    assert shell.run(*kubectl, "good.yaml").returncode == 0
