"""What of a pod the Pod Security Standards forbid. Pure.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/. A test compares the answers with
those of a real API server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from kaitoctl.kube.objects import Object, dig

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
    ]
)
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


def violations(pod: Object, level: Level) -> list[str]:
    """What the standard forbids of a pod's spec, each as a path below `spec` with its value.

    Args:
        pod: a pod's `spec`; whatever in it is of another type than it should be is passed over.
        level: `restricted` forbids all that `baseline` does, and more.
    """
    found = list(_baseline(pod))
    return found + list(_restricted(pod)) if level == "restricted" else found


def _baseline(pod: Object) -> Iterator[str]:
    yield from (f"{name}: true" for name in _HOST if pod.get(name) is True)
    for index, volume in enumerate(_maps(pod.get("volumes"))):
        if "hostPath" in volume:
            yield f"volumes[{index}].hostPath"
    for index, sysctl in enumerate(_maps(dig(pod, "securityContext", "sysctls"))):
        if sysctl.get("name") not in _SYSCTLS:
            yield f"securityContext.sysctls[{index}]: {sysctl.get('name')}"
    for where, context in _contexts(pod):
        yield from _baseline_context(where, context)
    for where, container in _containers(pod):
        mount = dig(container, "securityContext", "procMount") or "Default"
        if mount != "Default" and pod.get("hostUsers") is not False:  # harmless in a user namespace
            yield f"{where}.securityContext.procMount: {mount}"
        for index, port in enumerate(_maps(container.get("ports"))):
            if port.get("hostPort"):
                yield f"{where}.ports[{index}].hostPort: {port['hostPort']}"


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
        if dig(context, name, "type") == "Unconfined":
            yield f"{where}.{name}.type: Unconfined"


def _restricted(pod: Object) -> Iterator[str]:
    for index, volume in enumerate(_maps(pod.get("volumes"))):
        yield from (f"volumes[{index}].{name}" for name in volume if name not in _VOLUMES)
    shared = _map(pod.get("securityContext"))
    for where, context in _contexts(pod):
        if context.get("runAsUser") == 0:
            yield f"{where}.runAsUser: 0"
    for where, container in _containers(pod):
        where = f"{where}.securityContext"
        context = _map(container.get("securityContext"))
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{where}.allowPrivilegeEscalation is not false"
        if context.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True:
            yield f"{where}.runAsNonRoot is not true"
        profile = dig(context, "seccompProfile", "type") or dig(shared, "seccompProfile", "type")
        if profile not in ("RuntimeDefault", "Localhost"):
            yield f"{where}.seccompProfile.type is neither RuntimeDefault nor Localhost"
        if "ALL" not in _names(dig(context, "capabilities", "drop")):
            yield f"{where}.capabilities.drop lacks ALL"
        for name in _names(dig(context, "capabilities", "add")):
            if name != "NET_BIND_SERVICE" and name in _CAPABILITIES:  # the others are told by `_baseline`
                yield f"{where}.capabilities.add: {name}"


def _contexts(pod: Object) -> Iterator[tuple[str, Object]]:
    yield "securityContext", _map(pod.get("securityContext"))
    for where, container in _containers(pod):
        yield f"{where}.securityContext", _map(container.get("securityContext"))


def _containers(pod: Object) -> Iterator[tuple[str, Object]]:
    for kind in _CONTAINERS:
        for index, container in enumerate(_maps(pod.get(kind))):
            yield f"{kind}[{index}]", container


def _map(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


def _maps(value: Any) -> list[Object]:
    return [item if isinstance(item, dict) else {} for item in value] if isinstance(value, list) else []


def _names(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
