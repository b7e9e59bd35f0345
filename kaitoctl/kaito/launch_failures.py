"""NodeClaim -> why its node could not be launched. Pure."""

from __future__ import annotations

import re

from kaitoctl.kube.objects import Object, dig

# Karpenter v1 says Unknown, with a reason, of a launch that failed: it tries again for five minutes, then
# gives the claim up. Reasons of a launch that nobody has tried yet, or that is merely held up.
# Source: karpenter v1.14 nodeclaim/lifecycle/launch.go, operatorpkg status; karpenter-provider-aws errors.go.
_NOT_FAILED = (
    "",
    "AwaitingReconciliation",
    "NodeClassReadinessUnknown",
    "RequestLimitExceeded",
    "InternalError",
)
# Refusals of requests, not of machines, in the words of clouds: the provisioner asks again.
# Source: AKS agent pools (aka.ms/aks-pending-operation, PutAgentPoolHandler); AWS EC2; Google Compute Engine.
PASSES = (
    r"(?i)too ?many ?requests|throttl|RequestLimitExceeded|rate ?(?:limit ?)?exceeded|"
    r"request limit has been exceeded|another (?:\w+ )?operation .{1,120}is in progress|"
    r"in[ -]progress (?:[\w-]+ ){0,5}operation|operation .{1,120}\bis (?:still |already )?in progress|"
    r"running incompatible operation|\boperation \S{1,80} is currently \w+ing cluster|"
    r"AnotherOperationInProgress|PreemptedByAnotherOperation|EtagMismatch|OperationPreempted"
)


def launch_failure(claim: Object) -> Object | None:
    """The condition by which a NodeClaim (or a Machine, of KAITO v0.3) says that its launch failed."""
    for item in dig(claim, "status", "conditions") or ():
        if item.get("type") not in ("Launched", "MachineLaunched"):
            continue
        reason = str(item.get("reason") or "")
        if re.search(PASSES, f"{reason} {item.get('message') or ''}"):
            continue
        if item.get("status") == "False" or (item.get("status") == "Unknown" and reason not in _NOT_FAILED):
            return dict(item)
    return None


def claim_failure(claim: Object) -> str:
    """Why a NodeClaim (or a Machine, of KAITO v0.3) could not be launched, or an empty string."""
    failed = launch_failure(claim)
    if failed is None:
        return ""
    return str(failed.get("message") or failed.get("reason") or "it could not be launched")
