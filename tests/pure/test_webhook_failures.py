"""A webhook that could not be asked: what is wrong with it, for pods and for our own writes."""

from __future__ import annotations

import pytest
from trouble import World

from kaitoctl.errors import ApiError
from kaitoctl.kube.refusal_hints import hint_of, refusal_kind

POST = 'failed to call webhook: Post "https://hook.ops.svc:443/mutate?timeout=10s": '
# What the API server writes behind the webhook's name, what is wrong, and what the advice is about.
CASES = [
    (
        POST + "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        "does not trust",
        "caBundle",
    ),
    (
        POST + "x509: certificate signed by unknown authority (possibly because of "
        '"crypto/rsa: verification error" while trying to verify candidate authority certificate "hook-ca")',
        "does not trust",
        "caBundle",
    ),
    (
        POST
        + "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current "
        "time 2026-11-28T16:00:00Z is after 2026-11-01T00:00:00Z",
        "not valid at this time",
        "renew",
    ),
    (
        POST + "x509: certificate is valid for old.ops.svc, not hook.ops.svc",
        "for another name",
        "alternative name",
    ),
    (
        POST + "x509: certificate relies on legacy Common Name field, use SANs instead",
        "for another name",
        "alternative name",
    ),
    (
        POST + "x509: cannot validate certificate for 10.0.0.7 because it doesn't contain any IP SANs",
        "for another name",
        "alternative name",
    ),
    (POST + "x509: certificate is not authorized to sign other certificates", "does not trust", "caBundle"),
    (POST + "x509: unhandled critical extension", "does not accept", "caBundle"),
    ("could not get REST client: unable to load root certificates: unable to parse", "cannot use", "PEM"),
    (POST + "http: server gave HTTP response to HTTPS client", "does not use a TLS", "HTTPS"),
    (POST + "remote error: tls: handshake failure", "does not use a TLS", "HTTPS"),
    (POST + 'service "hook" not found', "has no Service", "install"),
    (POST + 'no service port 8443 found for service "hook"', "names a port", "port"),
    (POST + 'no endpoints available for service "hook"', "has no ready pod", "Ready"),
    (
        POST + "dial tcp: lookup hook.example on 10.0.0.10:53: no such host",
        "cannot be resolved",
        "DNS",
    ),
    (POST + "dial tcp 10.0.0.7:443: connect: connection refused", "nothing listens", "targetPort"),
    (POST + "dial tcp 10.0.0.7:443: connect: no route to host", "cannot be reached", "firewalls"),
    (POST + "dial tcp 10.0.0.7:443: i/o timeout", "cannot be reached", "firewalls"),
    (POST + "No agent available", "cannot be reached", "konnectivity"),
    (POST + "context deadline exceeded", "does not answer in time", "timeoutSeconds"),
    (
        POST + "net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
        "does not answer in time",
        "timeoutSeconds",
    ),
    (POST + "EOF", "broke the connection", "restart"),
    (POST + "read tcp 10.0.0.1:4->10.0.0.7:443: read: connection reset by peer", "broke", "restart"),
    ("failed to call webhook: Unauthorized", "does not let", "credentials"),
    (
        "failed to call webhook: the server could not find the requested resource",
        "does not know the path",
        "path",
    ),
    (
        "received invalid webhook response: expected webhook response of admission.k8s.io/v1, "
        "Kind=AdmissionReview, got /, Kind=",
        "no AdmissionReview",
        "admissionReviewVersions",
    ),
    ('received invalid webhook response: expected response.uid="a", got ""', "no AdmissionReview", "log"),
    (
        'failed to call webhook: an error on the server ("") has prevented the request from succeeding',
        "fails by itself",
        "log",
    ),
    (
        "failed to call webhook: the server is currently unable to handle the request",
        "fails by itself",
        "log",
    ),
    ("failed to call webhook: the server rejected our request for an unknown reason", "rejects", "log"),
    ("failed to call webhook: words that nobody has seen", "cannot be asked", "Service"),
]


def said(words: str) -> str:
    return f'Internal error occurred: failed calling webhook "pods.mutate.example": {words}'


@pytest.mark.parametrize(("words", "what", "advice"), CASES)
def test_refused_pods_say_what_is_wrong_with_the_webhook(words: str, what: str, advice: str) -> None:
    world = World("webhook-silent").without("Event")
    world["Deployment"]["status"]["conditions"] = []
    cause = world.event("FailedCreate", f"Error creating: {said(words)}", of="ReplicaSet").cause()
    assert (cause.code, cause.weight) == ("pods-refused", "fault")
    assert f"webhook pods.mutate.example {what}" in cause.message or what in cause.message
    assert "pods.mutate.example" in cause.message
    assert advice in cause.hint
    assert "webhookconfigurations" in cause.command


@pytest.mark.parametrize(("words", "what", "advice"), CASES)
def test_so_do_our_own_writes(words: str, what: str, advice: str) -> None:
    error = ApiError(500, "InternalError", said(words))
    assert refusal_kind(error) == "webhook-unreachable"
    assert what in hint_of(error)
    assert advice in hint_of(error)


@pytest.mark.parametrize(
    ("words", "what", "command"),
    [
        (
            "unable to validate against any pod security policy: []",
            "PodSecurityPolicy",
            "podsecuritypolicies",
        ),
        (
            "PodSecurityPolicy: unable to admit pod: [spec.containers[0].securityContext.privileged: Invalid "
            "value: true: Privileged containers are not allowed]",
            "PodSecurityPolicy",
            "podsecuritypolicies",
        ),
        (
            'violates PodSecurity "baseline:v1.34": hostPath volumes (volume "dshm")',
            "Pod Security level baseline:v1.34",
            "--show-labels",
        ),
        (
            'unable to validate against any security context constraint: [provider "anyuid": Forbidden: not '
            "usable by user or serviceaccount]",
            "no security context constraint",
            "securitycontextconstraints",
        ),
    ],
)
def test_policies_of_pods_are_told_apart_by_who_has_them(words: str, what: str, command: str) -> None:
    world = World("webhook-silent").without("Event")
    world["Deployment"]["status"]["conditions"] = []
    cause = world.event("FailedCreate", f'pods "falcon-" is forbidden: {words}', of="ReplicaSet").cause()
    assert what in cause.message
    assert command in cause.command
