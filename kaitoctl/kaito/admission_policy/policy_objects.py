"""The ValidatingAdmissionPolicy of all rules, and the codes that none covers. Pure.

The tables in it (presets, models, instance types) are those of the catalog, the grammars those of `grammar`.
A rule is as strict as `validate` for kaitoctl's own controller, or says in `partly` where it lets more
through; none refuses what `validate` admits. `NOT_SAID` has the codes that no rule covers, and why.

Source: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/, v1.30 and newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaitoctl.kaito.admission_policy.rules import rules
from kaitoctl.kaito.admission_policy.tables import variables
from kaitoctl.kaito.api import GROUP
from kaitoctl.kaito.catalog import Catalog
from kaitoctl.kube.objects import Object

NAME = "kaitoctl-workspaces"
_VERSION = "admissionregistration.k8s.io/v1"

_ELSEWHERE = "a rule of other releases of KAITO; kaitoctl's own controller has none"
_OTHERS = "it takes other objects of the cluster"
_METADATA = "the API server judges metadata itself"
_DOUBT = "a warning, and a policy of refusals has none"
NOT_SAID: Mapping[str, str] = {
    "KW100": "only a file can be unreadable",
    "KW101": "the CustomResourceDefinition says it, and the API server refuses it by that",
    "KW102": "unknown fields are dropped before a policy is asked; kubectl's strict validation names them",
    "KW103": "no API server takes another apiVersion or kind for a Workspace",
    "KW104": "a policy ends with its first failure",
    **dict.fromkeys(("KW106", "KW107", "KW108", "KW112", "KW184"), _METADATA),
    "KW109": "only a file can have an object twice",
    "KW117": "what an annotation may say is a table of its own for each release",
    "KW139": "it takes to know whose the nodes are",
    "KW147": "the image generation of a preset is not in the object",
    **dict.fromkeys(("KW161", "KW203"), "the server and its image generation are not in the object"),
    "KW162": "it takes the weights' size, the annotation and the generation together",
    **dict.fromkeys(
        (
            "KW105",
            "KW119",
            "KW127",
            "KW129",
            "KW130",
            "KW138",
            "KW155",
            "KW157",
            "KW165",
            "KW175",
            "KW177",
            "KW189",
        ),
        _ELSEWHERE,
    ),
    **dict.fromkeys(
        (f"KW{number}" for number in (*range(186, 189), *range(190, 199), *range(200, 203))), _OTHERS
    ),
    **dict.fromkeys(
        (
            *("KW114", "KW115", "KW116", "KW118", "KW121", "KW122", "KW125", "KW126", "KW146", "KW149"),
            *("KW158", "KW159", "KW160", "KW163", "KW164", "KW166", "KW167", "KW168", "KW169", "KW176"),
            *("KW183", "KW185", "KW199"),
        ),
        _DOUBT,
    ),
}
"""Codes that no rule covers, each with the reason."""


def policy(known: Catalog) -> list[Object]:
    """The ValidatingAdmissionPolicy of all rules, and the binding by which it counts in every namespace.

    Args:
        known: presets, models and instance types.
    """
    steering = "filter(key, key.startsWith('kaito.sh/')).map(key, key + '=' + {0}.metadata.annotations[key])"
    new, old = (
        f"(has({one}.metadata.annotations) ? {one}.metadata.annotations.{steering.format(one)} : [])"
        for one in ("object", "oldObject")
    )
    same = " && ".join(f"object.?{part} == oldObject.?{part}" for part in ("resource", "inference", "tuning"))
    annotated = f"{new}.all(item, item in {old}) && {old}.all(item, item in {new})"
    conditions = {
        # What is there already may go, whatever stands in it, and its controller goes on writing it.
        "it-is-not-being-deleted": "!has(object.metadata.deletionTimestamp)",
        "people-have-changed-it": f"request.operation == 'CREATE' || !({same} && {annotated})",
    }
    constraints: Object = {
        "matchPolicy": "Equivalent",
        "resourceRules": [
            {
                "apiGroups": [GROUP],
                "apiVersions": ["v1alpha1", "v1beta1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["workspaces"],
            }
        ],
    }
    spec: Object = {
        "failurePolicy": "Fail",
        "matchConstraints": constraints,
        "matchConditions": [_variable(name, text) for name, text in conditions.items()],
        "variables": [_variable(name, text) for name, text in variables(known).items()],
        "validations": [
            {"expression": rule.holds, "message": rule.words, "reason": "Invalid"} for rule in rules(known)
        ],
    }
    return [
        _document("ValidatingAdmissionPolicy", spec),
        _document("ValidatingAdmissionPolicyBinding", {"policyName": NAME, "validationActions": ["Deny"]}),
    ]


def _variable(name: str, expression: str) -> Object:
    return {"name": name, "expression": expression}


def _document(kind: str, spec: Any) -> Object:
    return {"apiVersion": _VERSION, "kind": kind, "metadata": {"name": NAME}, "spec": spec}
