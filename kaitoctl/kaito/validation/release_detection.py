"""What a cluster's own objects tell of its KAITO: release, provisioner, gates, cloud. Pure.

The image of the controller comes first; the content of the CRD is next, and only tells the row. That an API
version is served tells nothing: v1beta1 came with v0.4.5, and is served to this day.

Source: KAITO v0.3.2 to v0.12.0, the chart's `templates/deployment.yaml`, and `config/crd/bases`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kaitoctl.kaito.image_generations import IMAGE_GENERATIONS
from kaitoctl.kaito.validation.problem import OWN, as_list, as_map, as_text
from kaitoctl.kaito.validation.releases import RELEASES, V1ALPHA1, V1BETA1, Release, judged_as, nearest
from kaitoctl.kube.conditions import parse_timestamp
from kaitoctl.kube.objects import Object, annotations_of, dig, key_of

if TYPE_CHECKING:
    from kaitoctl.kaito.settings import Rights

_IMAGE = re.compile(r"(?:.*/)?(?:kaito-)?workspace:v?(?P<tag>[0-9]+\.[0-9]+(?:[.+-][^@]*)?)(?:@.*)?")
_LABEL = "app.kubernetes.io/name"
# As Go reads them: the value may be a word of its own.
_FLAG = re.compile(r"(?<!\S)--?(?P<name>[a-z][-a-z]*)(?:[= ](?!-)(?P<value>\S*))?(?!\S)")
_OLD_BYO = "disableNodeAutoProvisioning"
_SKEW = timedelta(seconds=15)


class Controller(Struct, frozen=True):
    """A controller of Workspaces, as its Deployment starts it.

    Args:
        target: the release that its image's tag says, or `OWN`.
        provisioner: of `--node-provisioner`; empty when it is not said.
        gates: the feature gates that are switched on.
        gates_off: those that are switched off.
        cloud: of CLOUD_PROVIDER, `azure` or `aws`; empty when it is another.
        made_as: kaitoctl's `--kaito-version`; empty when it is not said.
        rights: what kaitoctl's lets custom pods and volumes have; None of KAITO's.
    """

    target: str
    provisioner: str = ""
    gates: frozenset[str] = frozenset()
    cloud: str = ""
    gates_off: frozenset[str] = frozenset()
    made_as: str = ""
    rights: Rights | None = None

    @property
    def byo(self) -> bool | None:
        """Whether nodes must be brought; None when it does not say."""
        release = nearest(self.target)
        if self.provisioner:
            return self.provisioner == "byo"
        if release is None or not release.has_own_nodes:
            return None
        return release.name == "v0.9" and _OLD_BYO in self.gates  # a flag says it since v0.11


def controller(deployments: Iterable[Object]) -> Controller | None:
    """The first controller of Workspaces among Deployments, KAITO's rather than kaitoctl's."""
    own = None
    for deployment in deployments:
        name, label = dig(deployment, "metadata", "name"), dig(deployment, "metadata", "labels", _LABEL)
        is_named = "kaito" in str(name) or "workspace" in (name, label)
        for item in as_list(dig(deployment, "spec", "template", "spec", "containers")):
            container = as_map(item)
            words = [str(word) for key in ("command", "args") for word in as_list(container.get(key))]
            if "run-controller" in words:
                flags = _flags(words)
                own = own or Controller(
                    OWN,
                    flags.get("node-provisioner", ""),
                    made_as=flags.get("kaito-version", flags.get("target-version", "")),
                    rights=_rights(words),
                )
            image = as_text(container.get("image"))
            match = _IMAGE.fullmatch(image) if is_named or "kaito" in image else None
            if match is not None:
                return _of_container(match["tag"], words, container)
    return own


def _of_container(tag: str, words: list[str], container: Mapping[str, Any]) -> Controller:
    flags = _flags(words)
    env = {
        as_text(as_map(item).get("name")): as_map(item).get("value") for item in as_list(container.get("env"))
    }
    cloud = as_text(env.get("CLOUD_PROVIDER")).lower()
    return Controller(
        tag if tag.startswith("v") else f"v{tag}",
        flags.get("node-provisioner", ""),
        gates_on(flags.get("feature-gates", "")),
        cloud if cloud in ("azure", "aws") else "",
        gates_off(flags.get("feature-gates", "")),
    )


OWN_LEASE = "kaitoctl-controller"
"""The Lease of kaitoctl's controller; that of one namespace alone has its name at the end."""
OWN_LABEL = (_LABEL, OWN_LEASE)
NOTE_PROVISIONER, NOTE_VERSION = "kaitoctl.dev/node-provisioner", "kaitoctl.dev/kaito-version"
"""Annotations of it: what its holder was started with."""


def own_controller(leases: Iterable[Object], namespace: str, now: datetime) -> Controller | None:
    """Kaitoctl's controller at work, as it says on the Lease that it holds; None when there is none.

    Args:
        leases: those with `OWN_LABEL`.
        namespace: whose Workspaces are asked about; a controller of that namespace alone comes first.
        now: the present time.
    """
    held = {key_of(one).name: one for one in leases if is_held(one, now)}
    found = held.get(f"{OWN_LEASE}-{namespace}") or held.get(OWN_LEASE)
    if found is None:
        return None
    notes = annotations_of(found)
    return Controller(OWN, notes.get(NOTE_PROVISIONER, ""), made_as=notes.get(NOTE_VERSION, ""))


def is_held(lease: Object, now: datetime) -> bool:
    """Whether somebody renews a lease, by two clocks that may differ a little."""
    duration = dig(lease, "spec", "leaseDurationSeconds")
    renewed = time_of(dig(lease, "spec", "renewTime"))
    patience = timedelta(seconds=duration if isinstance(duration, int) else 15) + _SKEW
    return bool(dig(lease, "spec", "holderIdentity")) and renewed is not None and now - renewed <= patience


def time_of(text: object) -> datetime | None:
    """The time that a timestamp of Kubernetes says; None of another text."""
    try:
        return parse_timestamp(str(text))
    except ValueError:
        return None


def generation_near(release: str) -> str:
    """The generation of objects that a release of KAITO makes, or the nearest; empty for what is none."""
    if release in IMAGE_GENERATIONS:
        return release
    found = nearest(release)
    return "" if found is None else found.name if found.name in IMAGE_GENERATIONS else "v0.12"


def _rights(words: Iterable[str]) -> Rights:
    from kaitoctl.kaito.settings import Rights  # most clusters have KAITO's controller

    said = [(match["name"], match["value"] or "") for match in _FLAG.finditer(" ".join(words))]
    names = {name for name, _ in said}

    def each(option: str) -> frozenset[str]:
        return frozenset(value.strip("'\"") for name, value in said if name == option)

    return Rights(
        "allow-privileged-templates" in names,
        each("allow-template-service-account"),
        each("allow-template-secret"),
        "allow-template-scheduling" in names,
    )


def _flags(words: Iterable[str]) -> dict[str, str]:
    return {match["name"]: match["value"] or "" for match in _FLAG.finditer(" ".join(words))}


def gates_on(text: str) -> frozenset[str]:
    """The names of gates that are on; as KAITO's own flag writes them, `name=true` will do."""
    return frozenset(name for name, value in _gates(text) if value in ("", "true"))


def gates_off(text: str) -> frozenset[str]:
    """The names of gates that are switched off, `name=false`."""
    return frozenset(name for name, value in _gates(text) if value == "false")


def _gates(text: str) -> list[tuple[str, str]]:
    parts = (item.strip().partition("=") for item in text.split(",") if item.strip())
    return [(name.strip(), value.strip().lower()) for name, _, value in parts]


def target_of_crd(crd: Object) -> str | None:
    """The row that fits the content of the CRD of Workspaces, `OWN` for kaitoctl's; None when none does.

    v0.3 and v0.4 have the same CRD, so v0.4 stands for both.
    """
    shape = {version: _shape(version, schema) for version, schema in _schemas(crd).items()}
    for release in reversed(RELEASES):
        if shape == {version: _shape_of(release, version) for version in release.versions}:
            return release.name
    return OWN if shape == _OWN_SHAPE else None


def _schemas(crd: Object) -> dict[str, Mapping[str, Any]]:
    return {
        f"kaito.sh/{as_text(as_map(version).get('name'))}": as_map(dig(version, "schema", "openAPIV3Schema"))
        for version in as_list(dig(crd, "spec", "versions"))
    }


def crd_misfit(crd: Object, target: str) -> tuple[str, bool]:
    """How the CRD of Workspaces differs from that of the controller's release, and whether that cannot run.

    Empty where it is the same, or nobody can tell.
    """
    release = nearest(target)
    if release is None:
        return "", False
    schemas = _schemas(crd)
    shape = {version: _shape(version, schema) for version, schema in schemas.items()}
    wanted = {version: _shape_of(release, version) for version in release.versions}
    if unserved := [version.partition("/")[2] for version in wanted if version not in shape]:
        return f"it does not serve {' and '.join(unserved)}", True
    lacking = {field for version, has in wanted.items() for field in has[1] - shape[version][1]}
    if lacking:
        return f"it does not know {' and '.join(sorted(lacking))}, which the API server drops", False
    found = target_of_crd(crd)
    is_other = found not in (None, OWN) and shape != wanted
    return (f"it is that of KAITO {found}", False) if is_other else ("", False)


_Shape = tuple[str, frozenset[str]]
_CAME_LATER = {V1ALPHA1: ("inference.config",), V1BETA1: ("inference.config", "resource.partition")}
_OWN_SHAPE: Mapping[str, _Shape] = {
    V1ALPHA1: ("Standard_NC12s_v3", frozenset(_CAME_LATER[V1ALPHA1])),
    V1BETA1: ("", frozenset(_CAME_LATER[V1BETA1])),
}
"""What tells kaitoctl's own CRD from KAITO's: the fields of v0.12 with the default of v0.4."""


def _shape(version: str, schema: Mapping[str, Any]) -> _Shape:
    """What tells the schemas of releases apart: the default instance type, and fields that came later."""
    fields = set()
    for path in _CAME_LATER.get(version, ()):
        part, field = path.split(".")
        if dig(schema, "properties", part, "properties", field) is not None:
            fields.add(path)
    default = dig(schema, "properties", "resource", "properties", "instanceType", "default")
    return as_text(default), frozenset(fields)


def _shape_of(release: Release, version: str) -> _Shape:
    fields = frozenset(_CAME_LATER[version]) - set(release.unknown_fields)
    return release.default_type(version), fields


def target_words(target: str) -> str:
    """What stderr says of a target: the release, and by which it is judged."""
    if target == OWN:
        return "kaitoctl's own controller"
    release = nearest(target)
    if release is None:
        return f"KAITO {target}, which is not known"
    plain = target if target.startswith("v") else f"v{target}"
    note = judged_as(target, release)
    return f"KAITO {plain}" + (f" ({note})" if note else "")


def node_rules_of(target: str | None, workspace: Object) -> str:
    """By whose rules a release chooses nodes; without a release, those of the Workspace's API version.

    Source: KAITO v0.9.4 and v0.12.0 choose by labels of their own, and nodes can be brought; up to v0.4.6 the
    Workspace's labels and preferred nodes decide.
    """
    if target == OWN:
        return OWN
    release = nearest(target) if target else None
    if release is None:
        return "v0.12" if workspace.get("apiVersion") == V1BETA1 else "v0.4"
    if release.has_own_nodes:
        return "v0.12"
    return "v0.3" if release.name == "v0.3" else "v0.4"
