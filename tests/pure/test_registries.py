"""Whom a node asked for an image is read from what its container runtime says, not from the name alone.

Source of the messages: containerd v2.1 core/remotes/docker, containers/image 5, Go 1.25 net/http, as kubelets
write them into events.
"""

from __future__ import annotations

import pytest
from trouble import World

from kaitoctl.advice import text
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.of_registries import asked_for

IMAGE = "docker.io/library/busybox:1"
_PULL = f'Failed to pull image "{IMAGE}": failed to pull and unpack image "{IMAGE}": failed to '
_RESOLVE = f'{_PULL}resolve reference "{IMAGE}": '
_REQUEST = f"{_RESOLVE}failed to do request: "
_COPY = f"{_PULL}copy: httpReadSeeker: failed open: "
_REFUSED = "connect: connection refused"
_BLOB = "https://production.cloudflare.docker.com/registry-v2/docker/registry/v2/blobs/sha256/ab/data?X=1"

UNREACHABLE = [
    # what is said, who is named, what the hint tells besides
    (
        f'{_REQUEST}Head "https://registry-1.docker.io/v2/library/busybox/manifests/1": dial tcp: '
        "i/o timeout",
        "docker.io",
        "from the node",
    ),
    (
        f"{_REQUEST}Head "
        '"https://mirror.example:5000/v2/library/busybox/manifests/1?ns=docker.io": dial tcp '
        f"10.0.0.5:5000: {_REFUSED}",
        "mirror.example:5000 (asked instead of docker.io)",
        "hosts.toml",
    ),
    (
        f'{_REQUEST}Head "https://mirror.example/v2/library/busybox/manifests/1?ns=docker.io": '
        "dial tcp: lookup mirror.example on 10.0.0.10:53: no such host",
        "mirror.example (asked instead of docker.io)",
        "hosts.toml",
    ),
    (
        f'{_REQUEST}Head "http://10.0.0.5:5000/v2/library/busybox/manifests/1?ns=docker.io": dial '
        "tcp 10.0.0.5:5000: i/o timeout",
        "10.0.0.5:5000 (asked instead of docker.io)",
        "hosts.toml",
    ),
    (
        f"{_RESOLVE}failed to authorize: failed to fetch anonymous token: Get "
        '"https://auth.docker.io/token?scope=repository%3Alibrary%2Fbusybox%3Apull'
        '&service=registry.docker.io": '
        "dial tcp 1.2.3.4:443: i/o timeout",
        "auth.docker.io (the token server of docker.io)",
        "for its tokens",
    ),
    (
        f'{_COPY}failed to do request: Get "{_BLOB}": dial tcp 104.16.0.1:443: i/o timeout',
        "production.cloudflare.docker.com (to which docker.io leads)",
        "for the image",
    ),
    (
        f'{_COPY}failed to do request: Get "https://acct.blob.core.windows.net/{"a" * 12}?sig=x": '
        "dial tcp: lookup acct.blob.core.windows.net: no such host",
        "acct.blob.core.windows.net (to which docker.io leads)",
        "for the image",
    ),
    (
        f'{_REQUEST}Head "https://registry-1.docker.io/v2/library/busybox/manifests/1": '
        f"proxyconnect tcp: dial tcp 10.1.1.1:3128: {_REFUSED}",
        "the proxy 10.1.1.1:3128 (before docker.io)",
        "HTTPS_PROXY",
    ),
    (
        f'{_REQUEST}Head "https://registry-1.docker.io/v2/": proxyconnect tcp: dial tcp: lookup '
        "proxy.corp on 10.0.0.10:53: no such host",
        "the proxy proxy.corp (before docker.io)",
        "HTTPS_PROXY",
    ),
    (
        f'Failed to pull image "{IMAGE}": initializing source docker://busybox:1: pinging '
        'container registry mirror.example: Get "https://mirror.example/v2/": dial tcp '
        f"10.0.0.5:443: {_REFUSED}",
        "mirror.example (asked instead of docker.io)",
        "registries.conf",
    ),
    (
        f'{_REQUEST}Head "https://mirror.example/v2/library/busybox/manifests/1?ns=docker.io": '
        "x509: certificate signed by unknown authority",
        "mirror.example (asked instead of docker.io)",
        "the registry's CA; the container runtime",
    ),
    (
        f"{_RESOLVE}unexpected status from HEAD request to "
        "https://mirror.example/v2/library/busybox/manifests/1?ns=docker.io: 503 Service "
        "Unavailable",
        "mirror.example (asked instead of docker.io)",
        "check that mirror",
    ),
    (
        f"{_RESOLVE}unexpected status from HEAD request to "
        "https://mirror.example/v2/library/busybox/manifests/1?ns=docker.io: 429 Too Many "
        "Requests",
        "mirror.example (asked instead of docker.io)",
        "check that mirror",
    ),
]

REDIRECTED = f'{_REQUEST}Head "https://us-docker.pkg.dev/v2/x/manifests/1": dial tcp: i/o timeout'
DENIED = [
    (
        f"{_RESOLVE}unexpected status from HEAD request to "
        "https://mirror.example/v2/library/busybox/manifests/1?ns=docker.io: 401 Unauthorized",
        "mirror.example (asked instead of docker.io)",
        "pull secrets are for docker.io",
    ),
    (
        f"{_COPY}unexpected status code https://acct.blob.core.windows.net/x?sig=y: 403 Forbidden",
        "acct.blob.core.windows.net (to which docker.io leads)",
        "no pull secret helps",
    ),
    (
        f'{_REQUEST}Head "https://registry-1.docker.io/v2/": proxyconnect tcp: Proxy Authentication Required',
        "the proxy (before docker.io)",
        "HTTPS_PROXY",
    ),
]


def refused(said: str, image: str = IMAGE) -> Cause:
    world = World("slow-pull").without("Event")
    status = world["Pod"]["status"]["containerStatuses"][0]
    waiting = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"'}
    status |= {"image": image, "state": {"waiting": waiting}}
    return world.event("Failed", said).cause()


@pytest.mark.parametrize(("said", "whom", "hint"), UNREACHABLE)
def test_whoever_did_not_answer_is_named(said: str, whom: str, hint: str) -> None:
    found = refused(said)
    assert found.code == "registry-unreachable"
    assert whom in found.message
    assert ("(" in found.message) is ("(" in whom), "the registry itself needs no more words"
    assert hint in text(found.hint)


@pytest.mark.parametrize(("said", "whom", "hint"), DENIED)
def test_no_pull_secret_is_advised_where_none_is_shown(said: str, whom: str, hint: str) -> None:
    found = refused(said)
    assert found.code == "image-unauthorized"
    assert whom in found.message
    assert hint in text(found.hint)
    assert "create secret" not in text(found.hint) + text(found.command)


@pytest.mark.parametrize(
    "said",
    [
        f"{_RESOLVE}pull access denied, repository does not exist or may require authorization",
        f"{_RESOLVE}unexpected status from HEAD request to https://registry-1.docker.io/v2/library/busybox/"
        "manifests/1: 401 Unauthorized",
        f"{_RESOLVE}failed to authorize: failed to fetch oauth token: unexpected status from GET request to "
        "https://auth.docker.io/token?scope=repository%3Ax%3Apull&service=x: 401 Unauthorized",
    ],
)
def test_the_registry_of_the_name_takes_pull_secrets_itself_or_by_its_token_server(said: str) -> None:
    found = refused(said)
    assert found.code == "image-unauthorized"
    assert text(found.command) == (
        "kubectl create secret docker-registry NAME -n default --docker-server=docker.io "
        "--docker-username=USER --docker-password=PASSWORD"
    )


def test_the_newest_words_of_the_runtime_count_and_a_back_off_says_nothing() -> None:
    back_off = f'Back-off pulling image "{IMAGE}"'
    assert asked_for(IMAGE, [back_off]).role == "registry"
    assert asked_for("r.example/a:1", [back_off, UNREACHABLE[1][0]]).host == "mirror.example:5000"
    assert asked_for("r.example:5000/a:1", ['Get "https://r.example:5000/v2/": EOF']).role == "registry"
    assert asked_for("r.example/a:1", ['Get "https://user:pw@m.example/v2/": EOF']).host == "m.example"


def test_a_registry_that_leads_elsewhere_has_no_mirror() -> None:
    assert asked_for(IMAGE, [REDIRECTED]).role == "redirect"


@pytest.mark.parametrize(
    ("said", "code", "whom"),
    [
        (
            "toomanyrequests: You have reached your unauthenticated pull rate limit. "
            "https://www.docker.com/increase-rate-limit",
            "registry-unreachable",
            "docker.io limits",
        ),
        (
            "429 Too Many Requests: toomanyrequests: see https://docs.docker.com/docker-hub/download-rate-limit/",
            "registry-unreachable",
            "docker.io limits",
        ),
        (
            "unauthorized: authentication required, visit https://aka.ms/acr/authorization for more.",
            "image-unauthorized",
            "docker.io denies",
        ),
        (
            "denied: access forbidden, see https://cloud.google.com/artifact-registry/docs/access-control",
            "image-unauthorized",
            "docker.io denies",
        ),
    ],
)
def test_where_people_are_sent_to_read_on_is_nobody_who_was_asked(said: str, code: str, whom: str) -> None:
    found = refused(f"{_RESOLVE}{said}")
    assert found.code == code
    assert whom in found.message
    assert "leads" not in found.message


@pytest.mark.parametrize(
    "said",
    [
        "lookup registry-1.docker.io on 168.63.129.16:53: server misbehaving",
        "lookup registry-1.docker.io on 10.0.0.10:53: no such host",
        "lookup registry-1.docker.io: Temporary failure in name resolution",
        "lookup registry-1.docker.io on 10.0.0.10:53: read udp 10.1.0.4:4321->10.0.0.10:53: i/o timeout",
    ],
)
def test_a_name_that_cannot_be_resolved_is_a_matter_of_dns(said: str) -> None:
    asked = 'Head "https://registry-1.docker.io/v2/library/busybox/manifests/1": dial tcp: '
    found = refused(f"{_REQUEST}{asked}{said}")
    assert found.code == "registry-unreachable"
    assert "cannot be resolved" in found.message
    assert "DNS" in text(found.hint)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/x:1", "12 hours"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/x:1", "12 hours"),
        ("mine.azurecr.io/x:1", "AcrPull"),
        ("us-docker.pkg.dev/p/r/x:1", "artifactregistry.reader"),
        ("eu.gcr.io/p/x:1", "artifactregistry.reader"),
        ("ghcr.io/o/x:1", ""),
        ("registry.example:5000/x:1", ""),
    ],
)
def test_a_clouds_registry_lets_nodes_in_by_their_own_identity(image: str, says: str) -> None:
    for with_secret in (False, True):
        world = World("registry-unavailable").without("Event")
        status = world["Pod"]["status"]["containerStatuses"][0]
        status["image"] = world["Pod"]["spec"]["containers"][0]["image"] = image
        words = (
            f'failed to resolve reference "{image}": pull access denied: authorization failed: no basic auth'
        )
        status["state"] = {"waiting": {"reason": "ErrImagePull", "message": words}}
        if with_secret:
            world["Pod"]["spec"]["imagePullSecrets"] = [{"name": "regcred"}]
        found = world.cause()
        assert found.code == "image-unauthorized"
        assert says in text(found.hint)
        assert ("identity" in text(found.hint) or "role" in text(found.hint)) is bool(says)
        assert "ecret" in text(found.hint)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            "unexpected status from HEAD request to https://h.example/v2/: 412 Precondition Failed",
            "withholds",
        ),
        ("unknown: current image with 3 vulnerabilities cannot be pulled", "withholds"),
        ("unexpected status from HEAD request to https://j.example/v2/: 402 Payment Required", "not paid"),
        ("pull QPS exceeded", "registryPullQPS"),
        (
            'write "/var/lib/containerd/x": failed size validation: 412 != 402: failed precondition',
            "promised",
        ),
        ('"extract-1": open /var/lib/containerd/metadata.db: read-only file system', "repair"),
        (None, "next try"),
    ],
)
def test_what_else_a_pull_may_end_with(words: str | None, hint: str) -> None:
    world = World("registry-unavailable").without("Event")
    status = world["Pod"]["status"]["containerStatuses"][0]
    status["state"] = {"waiting": {"reason": "ImagePullBackOff", **({"message": words} if words else {})}}
    found = world.cause()
    assert (found.code, hint in text(found.hint)) == ("image-pull-failed", True)
    assert "None" not in found.message


def test_a_store_of_layers_that_answers_with_an_error_is_reached() -> None:
    world = World("registry-unavailable").without("Event")
    status = world["Pod"]["status"]["containerStatuses"][0]
    words = f"{_COPY}unexpected status from GET request to https://cdn01.quay.example/x: 502 Bad Gateway"
    status["state"] = {"waiting": {"reason": "ErrImagePull", "message": words}}
    assert text(world.cause().hint).startswith("check the registry's health")
