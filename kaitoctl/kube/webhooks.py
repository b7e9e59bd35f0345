"""Webhooks that a cluster asks before it writes an object: which ones, and whether anybody answers. Pure.

A webhook's configuration outlives the program behind it. With failurePolicy Fail (the default) every write
that it covers is refused from then on.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from kaitoctl.kube.objects import Kind, Object, ObjectKey, dig

VALIDATING = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    False,
)
MUTATING = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    False,
)


class Webhook(Struct, frozen=True):
    """One webhook.

    Args:
        kind: of its configuration, or `CustomResourceDefinition` where it converts between versions.
        configuration: the name of the object that asks for it.
        name: its own.
        service: the Service behind it; None where it is a URL.
        refuses: whether a write is refused while it does not answer.
        covers: what it is asked about, of those that were looked for.
        port: of the Service, at which it is asked.
        bundle: the certificates by which the API server trusts it, base64 of PEM; empty where it has none.
    """

    kind: str
    configuration: str
    name: str
    service: ObjectKey | None
    refuses: bool
    covers: tuple[str, ...]
    port: int = 443
    bundle: str = ""


def covering(configurations: Iterable[Object], kinds: Iterable[Kind]) -> Iterator[Webhook]:
    """The webhooks that are asked about a write of any of these kinds, their subresources included.

    Args:
        configurations: ValidatingWebhookConfigurations and MutatingWebhookConfigurations, with their `kind`.
        kinds: what is to be written.
    """
    wanted = tuple(kinds)
    for item in configurations:
        for hook in item.get("webhooks") or ():
            covers = tuple(
                kind.plural for kind in wanted if any(_covers(rule, kind) for rule in hook.get("rules") or ())
            )
            if covers:
                yield Webhook(
                    str(item.get("kind") or ""),
                    str(item["metadata"]["name"]),
                    str(hook.get("name") or ""),
                    _service(dig(hook, "clientConfig", "service")),
                    hook.get("failurePolicy") != "Ignore",
                    covers,
                    *_asked_at(hook.get("clientConfig")),
                )


def converting(crd: Object) -> Iterator[Webhook]:
    """The webhook that converts the kind's objects between its versions: no read works without it."""
    if dig(crd, "spec", "conversion", "strategy") == "Webhook":
        name = str(crd["metadata"]["name"])
        asked = dig(crd, "spec", "conversion", "webhook", "clientConfig")
        service, covers = _service(dig(asked, "service")), (name.partition(".")[0],)
        yield Webhook("CustomResourceDefinition", name, name, service, True, covers, *_asked_at(asked))


def lacks_port(service: Object, port: int) -> bool:
    """Whether a Service has ports, and not this one."""
    ports = [item.get("port") for item in dig(service, "spec", "ports") or ()]
    return bool(ports) and port not in ports


def has_endpoints(slices: Iterable[Object]) -> bool:
    """Whether anybody is ready behind a Service, as its EndpointSlices say.

    One without ports is of pods that have no port of the name that the Service leads to.
    """
    return any(
        dig(endpoint, "conditions", "ready") is not False and endpoint.get("addresses")
        for item in slices
        if item.get("ports", True)
        for endpoint in item.get("endpoints") or ()
    )


def _covers(rule: Object, kind: Kind) -> bool:
    groups, resources = rule.get("apiGroups") or (), rule.get("resources") or ()
    named = {str(name).partition("/")[0] for name in resources}
    return bool({kind.group, "*"} & set(groups)) and bool({kind.plural, "*"} & named)


def _service(given: Object | None) -> ObjectKey | None:
    return ObjectKey(str(given.get("namespace")), str(given.get("name"))) if given else None


def _asked_at(client_config: Object | None) -> tuple[int, str]:
    port = dig(client_config or {}, "service", "port")
    return port if isinstance(port, int) else 443, str((client_config or {}).get("caBundle") or "")
