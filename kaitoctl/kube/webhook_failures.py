"""Why the API server could not ask an admission webhook: a table from its words to what to look at. Pure.

Source of the frame: k8s.io/apiserver v0.37 `pkg/util/webhook/error.go` (`failed calling webhook "NAME": ...`)
and `pkg/admission/plugin/webhook/{mutating,validating}/dispatcher.go` (`failed to call webhook: ...`).
"""

from __future__ import annotations

import re

from msgspec import Struct

from kaitoctl.advice import Command

LIST = Command("kubectl get mutatingwebhookconfigurations,validatingwebhookconfigurations")
"""The command that shows whose webhooks there are."""

_FAILED = re.compile(r"failed (?:calling|to call) webhook(?: \"(?P<name>[^\"]+)\"|:? (?P<bare>[\w.-]+))?")
_AUTHORITY = (
    "write the CA that has signed it into the configuration's caBundle (cert-manager's cainjector does)"
)
_SERVING = "check the Service behind it, and that its pods run and are Ready"


class Failure(Struct, frozen=True):
    """Why a webhook could not be asked, or its answer not be used.

    Args:
        pattern: of the words behind the webhook's name.
        what: the same as the end of a sentence that begins with the webhook.
        hint: what to do.
    """

    pattern: str
    what: str
    hint: str


# The nearer to the cause, the further to the front. Sources: Go 1.26 `crypto/x509/verify.go` and
# `crypto/tls`; `net/http` client.go, `net` net.go; k8s.io/apiserver v0.37 `pkg/util/proxy/proxy.go`
# (services), `pkg/util/webhook/client.go`, `pkg/admission/plugin/webhook/request/admissionreview.go`;
# k8s.io/apimachinery `pkg/api/errors/errors.go` (NewGenericServerResponse); apiserver-network-proxy v0.34.
FAILURES = (
    Failure(
        r"x509: certificate signed by unknown authority|x509: .*is not trusted|certificate is not "
        r"standards compliant|x509: certificate is not authorized to sign|parent certificate cannot sign",
        "answers with a certificate that its caBundle does not trust",
        _AUTHORITY,
    ),
    Failure(
        r"x509: certificate has expired or is not yet valid",
        "answers with a certificate that is not valid at this time",
        "renew the certificate (cert-manager, the program's own rotation), restart its pods, and check the "
        "clocks of the nodes",
    ),
    Failure(
        r"x509: certificate (is valid for|is not valid for any names|relies on legacy Common Name)|x509: "
        r"cannot validate certificate for|x509: certificate specifies an incompatible key usage",
        "answers with a certificate that is for another name or use",
        "issue it for SERVICE.NAMESPACE.svc, as a subject alternative name",
    ),
    Failure(
        r"x509: |tls: failed to verify certificate",
        "answers with a certificate that the API server does not accept",
        _AUTHORITY,
    ),
    Failure(
        r"unable to load root certificates|unable to parse bytes as PEM block|could not get REST client|"
        r"caBundle",
        "has a configuration that the API server cannot use",
        "correct its clientConfig: caBundle is PEM, in base64 once",
    ),
    Failure(
        r"server gave HTTP response to HTTPS client|first record does not look like a TLS handshake|tls: |"
        r"malformed HTTP response",
        "does not use a TLS that the API server accepts",
        "check the port that its Service leads to, and that the program behind it serves HTTPS",
    ),
    Failure(
        r"service \"?[^\s\"]+\"? not found",
        "has no Service any more",
        "install the program behind it again, or delete its configuration if the program is gone for good",
    ),
    Failure(
        r"no service port|service port .{0,20} not found|has no port",
        "names a port that its Service does not have",
        "correct the port of its clientConfig, or of the Service",
    ),
    Failure(
        r"no endpoints available for service",
        "has no ready pod",
        "get its pods to run and to be Ready",
    ),
    Failure(
        r"no such host|server misbehaving",
        "has an address that cannot be resolved",
        "check the host in its clientConfig.url, and the DNS of the control plane",
    ),
    Failure(
        r"connection refused",
        "has a pod on which nothing listens",
        "check its pods' logs, and that the Service's targetPort is theirs",
    ),
    Failure(
        r"no route to host|network is unreachable|i/o timeout|No agent available|proxyconnect|"
        r"dial tcp .{0,80}(?:deadline exceeded|timeout)",
        "cannot be reached from the control plane",
        "see firewalls and network policies between the control plane and its pods (a private cluster may "
        "open 443 and 10250 only), and the konnectivity agents",
    ),
    Failure(
        r"deadline exceeded|Client\.Timeout|request canceled|timed out|TLS handshake timeout",
        "does not answer in time",
        "check how busy its pods are, and its timeoutSeconds",
    ),
    Failure(
        r"\bEOF\b|connection reset by peer|broken pipe|http2: |client connection lost|use of closed network",
        "broke the connection",
        "check whether its pods crash or restart: their logs say why",
    ),
    Failure(
        r"Unauthorized|the server has asked for the client to provide credentials|[Ff]orbidden|unknown \(",
        "does not let the API server in",
        "it requires credentials that the API server lacks: check its --admission-control-config-file, and "
        "a mesh or proxies before it",
    ),
    Failure(
        r"could not find the requested resource|not found|404",
        "does not know the path that it is asked at",
        "see clientConfig's path: the program behind it is another version, or another program",
    ),
    Failure(
        r"received invalid webhook response|expected response|expected webhook response|"
        r"webhook returned|unexpected end of JSON|unsupported content|cannot unmarshal|does not have a kind|"
        r"couldn't get version/kind|no kind is registered|webhook response|invalid character",
        "answers something that is no AdmissionReview",
        "check the log of the program behind it, and which admissionReviewVersions it supports",
    ),
    Failure(
        r"an error on the server|server is currently unable|Internal Server Error|Bad Gateway|"
        r"Service Unavailable|Gateway Timeout|Too Many Requests|too many requests|\b(?:429|5\d\d)\b",
        "fails by itself",
        "check the log of the program behind it: it, or a proxy before it, answers with an error",
    ),
    Failure(
        r"the server rejected our request|the server responded with|\b4\d\d\b",
        "rejects the API server's question",
        "check the log of the program behind it, and proxies before it",
    ),
)
"""The first that fits is it."""

_ANY = Failure("", "cannot be asked", _SERVING)


def failure(words: str) -> tuple[str, Failure] | None:
    """The webhook that could not be asked, empty if it is not named, and why; None for other words."""
    found = _FAILED.search(words)
    if found is None:
        return None
    rest = words[found.end() :]
    why = next((row for row in FAILURES if re.search(row.pattern, rest)), _ANY)
    return found["name"] or (found["bare"] or "").rstrip(":.,"), why
