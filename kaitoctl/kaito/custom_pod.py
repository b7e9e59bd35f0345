"""Which custom pods (`inference.template`) and volumes the controller makes, and as what pods run. Pure.

The controller may create any pod; whoever may write Workspaces shall not, by its hand. What a template, or a
volume of adapters or tuning, may not have is refused with the field's path and the option by which the
operator allows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from kaitoctl.kube import pod_reach, pod_security
from kaitoctl.kube.objects import Object
from kaitoctl.kube.pod_reach import Reach

if TYPE_CHECKING:
    from kaitoctl.kaito.settings import Settings

UNLESS = "unless the controller runs with"
"""In every refusal that an operator can lift."""

_ANY = "*"
_MOST_SAID = 5

PRIVILEGED = "--allow-privileged-templates"
SERVICE_ACCOUNT = "--allow-template-service-account"
SECRET = "--allow-template-secret"  # noqa: S105 - an option's name
SCHEDULING = "--allow-template-scheduling"


def refusal(template: Object, settings: Settings) -> str:
    """What a template may not have, each with its path and what allows it; empty when it may have all."""
    return _few(f"inference.template.{fault}" for fault in _faults(template, settings))


def volume_refusal(path: str, source: Object, settings: Settings) -> str:
    """What a volume of adapters or tuning, a `volumeSource` at a path, may not have; as `refusal`."""
    faults = _faults({"spec": {"volumes": [source]}}, settings)
    return _few(fault.replace("spec.volumes[0]", path, 1) for fault in faults)


def _few(faults: Iterable[str]) -> str:
    found = list(islice(faults, _MOST_SAID + 1))
    more = ["and more"] if len(found) > _MOST_SAID else []
    return "; ".join([*found[:_MOST_SAID], *more])


def may_have_token(spec: Object, settings: Settings) -> bool:
    """Whether a pod with this spec may have its ServiceAccount's token of the API."""
    return _is_among(pod_reach.service_account(spec), settings.template_service_accounts)


def _faults(template: Object, settings: Settings) -> Iterator[str]:
    if not settings.allows_privileged_templates:
        for what in pod_security.violations(template, "baseline"):
            yield (
                f"{what} is not allowed by the baseline Pod Security Standard, nor here {UNLESS} {PRIVILEGED}"
            )
    for reach in pod_reach.reaches(template):
        if why := _against(reach, settings):
            yield f"{reach.path} {why}"


def _against(reach: Reach, settings: Settings) -> str:
    """Why the controller does not give a template what it reaches for; empty when it does."""
    if reach.kind == "identity":
        is_allowed, option = _is_among(reach.name, settings.template_service_accounts), SERVICE_ACCOUNT
        why = "gives the pod the identity of a ServiceAccount, which writing Workspaces does not"
    elif reach.kind == "secret":
        is_allowed, option = _is_among(reach.name, settings.template_secrets), SECRET
        why = "gives the pod a Secret of the namespace, which writing Workspaces does not"
    elif reach.kind == "scheduling":
        is_allowed, option = settings.allows_template_scheduling, SCHEDULING
        why = "chooses where the pod runs, or with which priority"
    elif reach.kind == "cluster":
        is_allowed, option = settings.allows_privileged_templates, PRIVILEGED
        why = "gives the pod what only the node or the cluster may reach"
    elif reach.kind == "unknown":
        is_allowed, option = settings.allows_privileged_templates, PRIVILEGED
        why = "is not a field that this version of the controller knows"
    else:
        return "is not possible: Kubernetes takes none in a pod template"
    if is_allowed:
        return ""
    name = f" {reach.name or repr(_ANY)}" if option in (SERVICE_ACCOUNT, SECRET) else ""
    return f"{why}: not allowed {UNLESS} {option}{name}"


def _is_among(name: str, allowed: frozenset[str]) -> bool:
    return _ANY in allowed or bool(name and name in allowed)
