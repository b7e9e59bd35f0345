"""Whom a node asks for an image, by what its container runtime says, and what that one answers.

The image's name says where the pull begins. A runtime may ask a mirror instead, a registry sends on to others
(its token server, the store of its layers), and a proxy may stand before them all: the address in the
message is the one that failed.

Source: containerd v2.1 core/remotes/docker (resolver.go: `?ns=` names the registry that a mirror stands for;
authorizer.go; fetcher.go) and core/remotes/docker/config (hosts.toml); containers/image 5 docker/
docker_client.go (`pinging container registry`, `Mirrors also failed`); Docker Hub's answers; Go 1.25 net,
net/http (`proxyconnect`, `socks connect`), crypto/x509; Kubernetes v1.37.2 pkg/credentialprovider (pull
secrets are chosen by the image's name).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from kaitoctl.advice import Advice, Command
from kaitoctl.kaito.diagnosis.case import Case

Role = Literal["registry", "mirror", "token", "redirect", "proxy"]


class _Answer(NamedTuple):
    """What a registry answers, or what is between.

    Args:
        pattern: what is said.
        words: the same, of whom and for which image.
        hint: what to do.
        is_of_anybody: whether that helps with a mirror or a proxy, too.
    """

    pattern: str
    words: str
    hint: str
    is_of_anybody: bool = False


_ANSWERS = (
    _Answer(
        r"(?i)too ?many ?requests|\b429\b|rate limit",
        "{registry} limits how often images are pulled from it, {image} now",
        "wait, and give the pods a pull secret (who is known may pull more often), or a registry of your own",
    ),
    _Answer(
        r"(?i)server gave HTTP response to HTTPS client|first record does not look like a TLS handshake",
        "{registry} serves plain HTTP, and the node pulls {image} over HTTPS",
        "give it a certificate, or allow plain HTTP for it in the nodes' container runtime",
        is_of_anybody=True,
    ),
    _Answer(
        r"(?i)certificate has expired or is not yet valid",
        "the certificate of {registry} is not valid at this time, so that the node does not pull {image}",
        "renew its certificate, and check the clock of the node",
        is_of_anybody=True,
    ),
    _Answer(
        r"(?i)certificate is (?:not )?valid for|legacy Common Name|cannot validate certificate for",
        "the certificate of {registry} is for another name, so that the node does not pull {image}",
        "name it as its certificate does, or give it one for this name",
        is_of_anybody=True,
    ),
    _Answer(
        r"(?i)x509|certificate",
        "the node cannot reach {registry} for {image}: it does not trust its certificate",
        "give the container runtime of the nodes the registry's CA",
        is_of_anybody=True,
    ),
    _Answer(
        r"(?i)\b50[0234]\b.{0,8}(internal|bad|service|gateway|not implemented)|\bstatus\b\D{0,12}5\d\d\b",
        "{registry} answers with an error of its own when it is asked for {image}",
        "check the registry's health; the kubelet retries automatically",
        is_of_anybody=True,
    ),
    _Answer(
        r"(?i)text/html|invalid character '<'|looking for beginning of value",
        "what answers for {registry} is a web page, not a registry, when {image} is asked for",
        "check the proxy or portal between the node and the registry, and the registry's address",
        is_of_anybody=True,
    ),
    _Answer(
        r"(?i)no such host|server misbehaving|Temporary failure in name resolution|"
        r"\blookup [\w.:-]{1,253}(?: on \S{1,60})?: ",
        "the node cannot reach {registry} for {image}: its name cannot be resolved there",
        "check the name, and the DNS of the node",
        is_of_anybody=True,
    ),
    _Answer(
        r"(?i)i/o timeout|connection refused|connection reset|deadline exceeded|TLS handshake|"
        r"dial tcp|no route to host|network is unreachable|EOF$",
        "the node cannot reach {registry} for {image}",
        "try the registry from the node",
    ),
)
_URL = re.compile(r"https?://[^\s\"'<>\\]{1,2000}")
# Where registries send people to read on: Docker Hub's "increase-rate-limit", Azure's aka.ms/acr/....
_TO_READ = re.compile(
    r"(?:www|docs?|support|help|learn|developer)\.[\w.-]+|aka\.ms|cloud\.google\.com|(?:hub\.docker|github)\.com"
)
_DIALED = re.compile(
    r"proxyconnect tcp:.*?\b(?:dial tcp (?P<address>[\w.\[\]-]+:\d+)|lookup (?P<name>[\w.-]+))"
)
_OF_PROXY = re.compile(r"(?i)proxyconnect tcp|proxy authentication required|\b407\b")
_PINGED = re.compile(r"pinging container registry (?P<host>[\w.:-]{3,253})")
_OF_DOCKER = re.compile(r"(?:registry-1|index|registry)\.docker\.io|docker\.io")
_OF_TOKENS = re.compile(r"/(?:token|oauth2|jwt|auth)\b")
_HINTS: dict[Role, str] = {
    "mirror": "the container runtime of the node asks {host} instead of {registry}: check that mirror, or "
    "the runtime's configuration (containerd's certs.d/*/hosts.toml, CRI-O's registries.conf)",
    "token": "it is where {registry} sends for its tokens: nodes must reach it, too",
    "redirect": "it is where {registry} sends for the image: nodes must reach it, too (firewalls, private "
    "endpoints)",
    "proxy": "check the proxy, and HTTPS_PROXY and NO_PROXY of the container runtime on the node",
}


class Asked(NamedTuple):
    """Whom a node asks for an image.

    Args:
        registry: that the image's name leads to.
        host: that was asked, and did not give it.
        role: what that is to the registry.
    """

    registry: str
    host: str
    role: Role

    @property
    def words(self) -> str:
        """In a sentence, as its subject."""
        told: dict[Role, str] = {
            "registry": self.registry,
            "mirror": f"{self.host} (asked instead of {self.registry})",
            "token": f"{self.host} (the token server of {self.registry})",
            "redirect": f"{self.host} (to which {self.registry} leads)",
            "proxy": f"the proxy{f' {self.host}' if self.host else ''} (before {self.registry})",
        }
        return told[self.role]

    @property
    def takes_secrets(self) -> bool:
        """Whether it is shown a pod's pull secrets, which are chosen by the image's name."""
        return self.role in ("registry", "token")

    @property
    def denial(self) -> str:
        """What to do where it denies access and takes no pull secrets."""
        told: dict[Role, str] = {
            "mirror": "a pod's pull secrets are for {registry}: give the container runtime of the node the "
            "credentials of the mirror (containerd's certs.d/*/hosts.toml, CRI-O's auth file)",
            "redirect": "the addresses that {registry} hands out are not let through: check its "
            "firewall, and the clock of the node; no pull secret helps",
            "proxy": "the proxy requires credentials, or forbids it: check HTTPS_PROXY of the container "
            "runtime on the node; no pull secret helps",
        }
        return told.get(self.role, "").format(registry=self.registry)

    @property
    def hint(self) -> str:
        """What to look at because of what it is; empty for the registry itself."""
        return _HINTS.get(self.role, "").format(host=self.host, registry=self.registry)


def registry_of(image: str) -> str:
    """The registry that an image's name leads to."""
    first = image.split("/")[0]
    return first if "." in first or ":" in first else "docker.io"


def asked_for(image: str, texts: Iterable[str]) -> Asked:
    """Whom a node asked for an image, by the first text that says so; else the registry of its name."""
    registry = registry_of(image)
    for text in texts:
        if _OF_PROXY.search(text):
            found = _DIALED.search(text)
            return Asked(registry, (found["address"] or found["name"]) if found else "", "proxy")
        urls = [url for url in _URL.findall(text) if not _TO_READ.fullmatch(urlsplit(url).netloc)]
        if urls:
            host = urlsplit(urls[-1]).netloc.rpartition("@")[2]
            return Asked(registry, host, _role(registry, host, urls[-1]))
        if pinged := _PINGED.search(text):
            return Asked(registry, pinged["host"], _role(registry, pinged["host"], "/v2/"))
    return Asked(registry, registry, "registry")


def _role(registry: str, host: str, url: str) -> Role:
    is_itself = host == registry or (registry == "docker.io" and _OF_DOCKER.fullmatch(host))
    if is_itself:
        return "registry"
    parts = urlsplit(url)
    if re.search(r"(?:^|&)ns=", parts.query) or parts.path.rstrip("/") == "/v2":
        return "mirror"
    is_of_tokens = _OF_TOKENS.search(parts.path) or re.search(r"(?:^|&)(?:scope|service)=", parts.query)
    return "token" if is_of_tokens else "redirect"


def answer(asked: Asked, reason: str, words: str, image: str) -> tuple[str, Advice] | None:
    """What was answered, or why nothing was, in words; and what to do. None when nobody knows it.

    Args:
        asked: who was.
        reason: why the container waits.
        words: what is said of it, without the image's name.
        image: the name.
    """
    is_known = (known for known in _ANSWERS if re.search(known.pattern, words))
    found = next(is_known, _ANSWERS[-1] if reason == "RegistryUnavailable" else None)
    if found is None:
        return None
    hint = asked.hint or found.hint
    if asked.hint and found.is_of_anybody:
        hint = f"{found.hint}; {asked.hint}"
    return found.words.format(registry=asked.words, image=image), hint


# Registries of clouds, whose tokens do not last, and what gives nodes access by their own identity instead.
_BY_IDENTITY = (
    (
        r"^\d+\.dkr[.-]ecr(?:-fips)?\.[\w-]+\.(?:amazonaws\.com(?:\.cn)?|on\.aws)",
        "let the nodes' role pull from ECR (AmazonEC2ContainerRegistryReadOnly; the repository of another "
        "account must allow it, too): a pull secret for ECR is valid for 12 hours alone",
    ),
    (
        r"^[\w-]+\.azurecr\.(?:io|cn|us)",
        "attach the registry to the cluster (AKS: --attach-acr), which gives the kubelet's identity AcrPull",
    ),
    (
        r"^(?:[\w-]+-)?docker\.pkg\.dev|^(?:[a-z]+\.)?gcr\.io",
        "give the service account of the nodes roles/artifactregistry.reader",
    ),
)


def by_identity(registry: str) -> str:
    """How nodes may pull from a registry of a cloud without a pull secret; empty for any other."""
    return next((what for pattern, what in _BY_IDENTITY if re.fullmatch(pattern, registry)), "")


def for_registry(case: Case, name: str, registry: str) -> Command:
    """The command that creates a pull secret."""
    return Command(
        "kubectl create secret docker-registry",
        name,
        *case.in_namespace,
        f"--docker-server={registry}",
        "--docker-username=USER",
        "--docker-password=PASSWORD",
    )
