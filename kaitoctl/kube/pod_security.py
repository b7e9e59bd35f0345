"""What of a pod, or of a pod template, the Pod Security Standards forbid. Pure.

Every check of `k8s.io/pod-security-admission/policy` (v0.37, policy version `latest`) is here, in its levels
`baseline` and `restricted`; `CHECKS` maps each to where. A test compares the answers with those of a real API
server. What the standards leave open and we do not is in `pod_reach`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from kaitoctl.kube.objects import Object, as_map, as_maps, dig

Level = Literal["baseline", "restricted"]

_HOST = ("hostNetwork", "hostPID", "hostIPC")
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_CAPABILITIES = frozenset(
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
)
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_SYSCTLS = frozenset(
    [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
        "net.ipv4.tcp_slow_start_after_idle",
        "net.ipv4.tcp_notsent_lowat",
    ]
)
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HANDLERS = ("postStart", "preStop")
_ASKING_A_HOST = ("httpGet", "tcpSocket")
_PROFILES = ("RuntimeDefault", "Localhost")
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"

CHECKS = {
    "hostNamespaces": "_baseline",
    "hostPathVolumes": "_baseline",
    "sysctls": "_baseline",
    "procMount": "_baseline_container",
    "hostPorts": "_baseline_container",
    "hostProbesAndHostLifecycle": "_baseline_container",
    "privileged": "_baseline_context",
    "windowsHostProcess": "_baseline_context",
    "capabilities_baseline": "_baseline_context",
    "seLinuxOptions": "_baseline_context",
    "seccompProfile_baseline": "_baseline_context",
    "appArmorProfile": "_baseline_context",  # and the annotations of `_annotations`
    "restrictedVolumes": "_restricted_faults",
    "procMount_restricted": "_restricted_container",
    "runAsUser": "_restricted_faults",
    "runAsNonRoot": "_restricted_faults",
    "allowPrivilegeEscalation": "_restricted_container",
    "seccompProfile_restricted": "_restricted_container",
    "capabilities_restricted": "_restricted_container",
}
"""Check of the admission plugin -> the function that answers it here."""
_VOLUMES = frozenset(
    [
        "name",
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ]
)


def violations(template: Object, level: Level) -> list[str]:
    """What the standard forbids of a pod or a pod template, each as a path with its value.

    Args:
        template: a pod or a template, with `spec` and perhaps `metadata`; whatever in it is of another type
            than it should be is passed over.
        level: `restricted` forbids all that `baseline` does, and more.
    """
    pod = as_map(template.get("spec"))
    found = [*_annotations(template), *(f"spec.{what}" for what in _baseline(pod))]
    return found + [f"spec.{what}" for what in _restricted_faults(pod)] if level == "restricted" else found


def _annotations(template: Object) -> Iterator[str]:
    """AppArmor as it was asked for before Kubernetes 1.30; container runtimes obey it to this day."""
    for key, value in as_map(as_map(template.get("metadata")).get("annotations")).items():
        is_profile = str(key).startswith(_APPARMOR)
        if is_profile and value not in ("", "runtime/default") and not str(value).startswith("localhost/"):
            yield f"metadata.annotations[{key}]: {value}"


def _baseline(pod: Object) -> Iterator[str]:
    yield from (f"{name}: true" for name in _HOST if pod.get(name) is True)
    for index, volume in enumerate(as_maps(pod.get("volumes"))):
        if volume.get("hostPath") is not None:
            yield f"volumes[{index}].hostPath"
    for index, sysctl in enumerate(as_maps(dig(pod, "securityContext", "sysctls"))):
        if sysctl.get("name") not in _SYSCTLS:
            yield f"securityContext.sysctls[{index}]: {sysctl.get('name')}"
    for where, context in _contexts(pod):
        yield from _baseline_context(where, context)
    for where, container in _containers(pod):
        yield from _baseline_container(where, container, has_user_namespace=_has_user_namespace(pod))


def _baseline_container(where: str, container: Object, *, has_user_namespace: bool) -> Iterator[str]:
    mount = dig(container, "securityContext", "procMount") or "Default"
    if mount != "Default" and not has_user_namespace:
        yield f"{where}.securityContext.procMount: {mount}"
    for index, port in enumerate(as_maps(container.get("ports"))):
        if port.get("hostPort"):
            yield f"{where}.ports[{index}].hostPort: {port['hostPort']}"
    # The kubelet asks, from the node's own network: it would reach what the pod cannot.
    asking = [(name, as_map(container.get(name))) for name in _PROBES]
    lifecycle = as_map(container.get("lifecycle"))
    asking += [(f"lifecycle.{name}", as_map(lifecycle.get(name))) for name in _HANDLERS]
    for name, handler in asking:
        for how in _ASKING_A_HOST:
            if host := as_map(handler.get(how)).get("host"):
                yield f"{where}.{name}.{how}.host: {host}"


def _baseline_context(where: str, context: Object) -> Iterator[str]:
    if context.get("privileged") is True:
        yield f"{where}.privileged: true"
    if dig(context, "windowsOptions", "hostProcess") is True:
        yield f"{where}.windowsOptions.hostProcess: true"
    for name in _names(dig(context, "capabilities", "add")):
        if name not in _CAPABILITIES:
            yield f"{where}.capabilities.add: {name}"
    selinux = context.get("seLinuxOptions") or {}
    if str(dig(selinux, "type") or "") not in _SELINUX_TYPES or dig(selinux, "user") or dig(selinux, "role"):
        yield f"{where}.seLinuxOptions"
    for name in ("seccompProfile", "appArmorProfile"):
        if isinstance(profile := context.get(name), dict) and profile.get("type") not in _PROFILES:
            yield f"{where}.{name}.type: {profile.get('type')}"


def _restricted_faults(pod: Object) -> Iterator[str]:
    for index, volume in enumerate(as_maps(pod.get("volumes"))):
        yield from (f"volumes[{index}].{name}" for name in volume if name not in _VOLUMES)
    if not _has_user_namespace(pod):  # where root of the pod is nobody on the node
        for where, context in _contexts(pod):
            if context.get("runAsUser") == 0:
                yield f"{where}.runAsUser: 0"
        shared = as_map(pod.get("securityContext")).get("runAsNonRoot")
        if shared is False:
            yield "securityContext.runAsNonRoot is not true"
        for where, container in _containers(pod):
            if as_map(container.get("securityContext")).get("runAsNonRoot", shared) is not True:
                yield f"{where}.securityContext.runAsNonRoot is not true"
    for where, container in _containers(pod):
        yield from _restricted_container(f"{where}.securityContext", container, pod)


def _restricted_container(where: str, container: Object, pod: Object) -> Iterator[str]:
    context, shared = as_map(container.get("securityContext")), as_map(pod.get("securityContext"))
    if _has_user_namespace(pod) and (mount := context.get("procMount") or "Default") != "Default":
        yield f"{where}.procMount: {mount}"  # without one, `_baseline` says so
    if dig(pod, "os", "name") == "windows":
        return  # it has neither of what follows
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{where}.allowPrivilegeEscalation is not false"
    profile = dig(context, "seccompProfile", "type") or dig(shared, "seccompProfile", "type")
    if profile not in _PROFILES:
        yield f"{where}.seccompProfile.type is neither RuntimeDefault nor Localhost"
    if "ALL" not in _names(dig(context, "capabilities", "drop")):
        yield f"{where}.capabilities.drop lacks ALL"
    for name in _names(dig(context, "capabilities", "add")):
        if name != "NET_BIND_SERVICE" and name in _CAPABILITIES:  # `_baseline` names the others
            yield f"{where}.capabilities.add: {name}"


def _has_user_namespace(pod: Object) -> bool:
    return pod.get("hostUsers") is False


def _contexts(pod: Object) -> Iterator[tuple[str, Object]]:
    yield "securityContext", as_map(pod.get("securityContext"))
    for where, container in _containers(pod):
        yield f"{where}.securityContext", as_map(container.get("securityContext"))


def _containers(pod: Object) -> Iterator[tuple[str, Object]]:
    for kind in _CONTAINERS:
        for index, container in enumerate(as_maps(pod.get(kind))):
            yield f"{kind}[{index}]", container


def _names(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
