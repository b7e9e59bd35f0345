"""Of a cloud's error its code and sentence are shown, without what its SDK wraps them in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kaito.diagnosis import karpenter
from kaitoctl.kaito.diagnosis.cloud_errors import plain

LINE = "-" * 80


def azure(code: str, message: str, status: str = "409 Conflict", *, end: str = "\n", **more: Any) -> str:
    """As azcore's ResponseError.Error writes it."""
    body = json.dumps({"code": code, "details": None, "message": message, **more}, indent=2)
    lines = (
        f"PUT https://management.azure.com/subscriptions/0/agentPools/ws1\n{LINE}",
        f"RESPONSE {status[:3]}: {status}\nERROR CODE: {code}"
        if code
        else f"RESPONSE {status[:3]}: {status}",
        f"{LINE}\n{body}\n{LINE}\n",
    )
    return "\n".join(lines).replace("\n", end)


START = 'creating instance, agentPool.BeginCreateOrUpdate for "ws1" failed: '
DENIED = "The client '1' does not have authorization to perform action 'agentPools/write'."


@pytest.mark.parametrize("start", ["", START, "creating instance, "])
@pytest.mark.parametrize("end", ["\n", "\\n", " "])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("AuthorizationFailed", DENIED),
        ("RequestDisallowedByPolicy", 'Policy identifiers: \'[{"policyAssignment":{"name":"Tag"}}]\'.'),
        ("SubnetIsFull", "Subnet a with prefix 10.0.0.0/24 is full."),
    ],
)
def test_an_answer_of_azure_is_its_code_and_sentence(start: str, end: str, code: str, said: str) -> None:
    assert plain(start + azure(code, said, end=end)) == f"{code}: {said}"
    before = "Unknown LaunchFailed: "
    assert plain(before + start + azure(code, said, end=end)) == f"{before}{code}: {said}"


def test_where_the_body_is_missing_or_cut_what_is_left_is_shown() -> None:
    whole = START + azure("OperationNotAllowed", "Operation results in exceeding quota of the family")
    assert plain(whole[: whole.index("exceeding quota") + 9]).endswith("Operation results in exceeding")
    assert plain(whole[: whole.index("OperationNotAllowed") + 19]) == "Conflict: OperationNotAllowed"
    assert "403" in plain(azure("", "", "403 Forbidden")) or "Forbidden" in plain(
        azure("", "", "403 Forbidden")
    )
    details = [{"code": "QuotaExceeded", "message": "No cores are left"}]
    nested = azure("InvalidTemplateDeployment", "It failed. Please see details.", inner=details)
    assert plain(nested) == "QuotaExceeded: No cores are left"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "creating instance, insufficient capacity, with fleet error(s), InsufficientHostCapacity: no; "
            "UnfulfillableCapacity: no (aws-error-code=X, aws-operation-name=CreateFleet, aws-status-code=0)",
            "InsufficientHostCapacity: no; UnfulfillableCapacity: no",
        ),
        (
            "operation error EC2: CreateFleet, https response error StatusCode: 403, RequestID: 1, api error "
            "UnauthorizedOperation: You are not authorized. Encoded authorization failure message: abc",
            "UnauthorizedOperation: You are not authorized.",
        ),
        (
            'autorest/azure: Service error. Status=409 Code="OperationNotAllowed" Message="of \\"x\\""',
            'OperationNotAllowed: of "x"',
        ),
        (
            "agent pool ws1: compute.VirtualMachinesClient#CreateOrUpdate: Failure sending request: "
            'StatusCode=409 -- Original Error: Code="SkuNotAvailable" Message="not here"',
            "agent pool ws1: SkuNotAvailable: not here",
        ),
        (
            "creating machine,\nautorest/azure: Service returned an error. Status=<nil> "
            'Code="ZonalAllocationFailed" Message="zone 1" Details=[{"code":"x"}]',
            "creating machine,\nZonalAllocationFailed: zone 1",
        ),
        ("googleapi: Error 403: Quota exceeded., quotaExceeded", "Quota exceeded., quotaExceeded"),
        ('NodeClass "default" is not ready', 'NodeClass "default" is not ready'),
        ("", ""),
    ],
)
def test_other_clouds_and_other_words(words: str, said: str) -> None:
    assert plain(words) == said
    assert plain(plain(words)) == said


@given(
    st.text(max_size=300),
    st.sampled_from([START, "RESPONSE 4", azure("A", "b")[:200], ' Code="x" Message="']),
)
def test_it_never_raises(words: str, middle: str) -> None:
    assert isinstance(plain(words + middle + words), str)


@pytest.mark.parametrize(
    "part", [" ", "PUT https://a ", "a for ", '"message": "', " (aws-error-code=", "operation error "]
)
def test_megabytes_cost_nothing(part: str) -> None:
    """Would one of the patterns look again from each place, this test would not end."""
    assert isinstance(plain(part * (2_000_000 // len(part))), str)


QUOTA, NONE, CLASS, FAILED = (
    "quota-exceeded",
    "instance-type-unavailable",
    "node-class-not-ready",
    "node-claim-failed",
)


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        # AWS: karpenter-provider-aws pkg/errors/errors.go, EC2's errors-overview
        ("AuthFailure.ServiceLinkedRoleCreationNotPermitted: no", FAILED, "service-linked role"),
        ("InsufficientInstanceCapacity: no", NONE, ""),
        ("InsufficientReservedInstanceCapacity: no", NONE, ""),
        ("InsufficientHostCapacity: no", NONE, ""),
        ("SpotMaxPriceTooLow: 0.1", NONE, ""),
        ("MaxSpotInstanceCountExceeded: Max spot instance count exceeded", QUOTA, "spot"),
        ("VcpuLimitExceeded: more vCPU", QUOTA, ""),
        ("InstanceLimitExceeded: your quota", QUOTA, ""),
        ("InvalidSubnetID.NotFound: The subnet ID does not exist", CLASS, "subnet"),
        ("InvalidSecurityGroupID.NotFound: none", CLASS, "security group"),
        ("OptInRequired: You are not subscribed to this service", FAILED, "account"),
        ("Blocked: This account is currently blocked", FAILED, "account"),
        ("UnauthorizedOperation: You are not authorized", FAILED, "rights"),
        # Azure: azure-sdk-for-go-extensions pkg/errors/consts.go, AKS' agent pools
        (
            "VMSizeNotSupported: Virtual Machine size: 'A' is not supported for subscription 0",
            NONE,
            "waiting does not",
        ),
        (
            "BadRequest: The VM size of A is not allowed in your subscription in location 'b'",
            NONE,
            "waiting does not",
        ),
        ("SkuNotAvailable: is currently not available in location", NONE, ""),
        ("ZonalAllocationFailed: no capacity", NONE, ""),
        ("OverconstrainedZonalAllocationRequest: no", NONE, ""),
        ("OperationNotAllowed: Submit a request for Quota increase", QUOTA, ""),
        ("OperationNotAllowed: exceeding approved Total Regional Cores quota", QUOTA, ""),
        ("OperationNotAllowed: LowPriorityCores quota", QUOTA, "spot"),
        ("ErrCode_InsufficientVCPUQuota: 24 requested", QUOTA, ""),
        ("MissingSubscriptionRegistration: not registered to use namespace", FAILED, "register"),
        ("NoRegisteredProviderFound: none", FAILED, "register"),
        ("FeatureNotRegistered: not registered", FAILED, "register"),
        ("LinkedAuthorizationFailed: no", FAILED, "rights"),
        ("RequestDisallowedByPolicy: no", FAILED, "policy"),
        ("SubnetIsFull: full", FAILED, "subnet"),
        (
            "ResourceNotFound: The Resource 'Microsoft.Network/virtualNetworks/v' under resource group 'r' "
            "was not found.",
            FAILED,
            "not there",
        ),
        ("required environment variables not set, AZURE_FEDERATED_TOKEN_FILE: , ", FAILED, "log in"),
        ("nodeClaim spec has no requirement for instance type", FAILED, "go together"),
        ("storage request of nodeclaim(ws1) should be more than 0", FAILED, "go together"),
        ("fail to find the node object", FAILED, "has not joined"),
        (
            "MaxAgentPoolCountReached: The maximum number of agent pools has been reached.",
            FAILED,
            "node pools",
        ),
        # Google
        ("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS: none", NONE, ""),
        (
            "Machine type with name 'a3' does not exist in zone 'europe-west4-c'",
            NONE,
            "this zone does not have",
        ),
        ("QUOTA_EXCEEDED: Quota 'NVIDIA_A100_GPUS' exceeded", QUOTA, ""),
        ("Compute Engine API has not been used in project 1 before or it is disabled", FAILED, "enable"),
    ],
)
def test_what_clouds_refuse_machines_for_is_known(words: str, code: str, hint: str) -> None:
    found = karpenter.by_words(f"LaunchFailed creating instance, {words}")
    assert found.code == code
    assert hint in str(found.hint)


@pytest.mark.parametrize(
    ("words", "of"),
    [
        # EC2's errors-overview
        ("VolumeLimitExceeded: You have exceeded your maximum gp3 storage limit of 50 TiB.", "disks"),
        ("MaxIOPSLimitExceeded: You have exceeded your maximum IOPS", "disks"),
        ("AddressLimitExceeded: The maximum number of addresses has been reached.", "public IP addresses"),
        ("NetworkInterfaceLimitExceeded: You have exceeded the limit", "network interfaces"),
        ("SecurityGroupsPerInstanceLimitExceeded: no", "security groups"),
        # Azure
        ("PublicIPCountLimitReached: Cannot create more than 10 public IP addresses", "public IP addresses"),
        ("OperationNotAllowed: exceeding approved PremiumDiskCount quota", "disks"),
        # Google
        ("QUOTA_EXCEEDED: Quota 'SSD_TOTAL_GB' exceeded. Limit: 500.0 in region a.", "disks"),
        ("QUOTA_EXCEEDED: Quota 'IN_USE_ADDRESSES' exceeded.", "public IP addresses"),
        # of machines, whatever their family is called
        ("ErrCode_InsufficientVCPUQuota: family standardNCADSA100v4Family", ""),
        ("QUOTA_EXCEEDED: Quota 'PREEMPTIBLE_NVIDIA_A100_GPUS' exceeded", ""),
    ],
)
def test_a_quota_of_something_else_is_no_quota_of_machines(words: str, of: str) -> None:
    """Another family of machines takes as many disks and addresses: only a quota of machines asks for one."""
    found = karpenter.by_words(f"LaunchFailed creating instance, {words}")
    assert (found.code, found.of) == (QUOTA, of)
    assert ("another type needs as many" in found.hint) == bool(of)


@pytest.mark.parametrize(
    "words",
    [
        "UltraDisk is not available in zone 1",
        "SkuNotAvailable: PremiumV2Disk not supported",
        "VM size Standard_NC24 does not support os disk type StandardSSDDisk",
        "os_disk_size_gb must be larger than 30",
    ],
)
def test_a_disk_that_is_refused_for_what_it_is_is_no_quota(words: str) -> None:
    assert karpenter.by_words(f"LaunchFailed creating instance, {words}").code != QUOTA
