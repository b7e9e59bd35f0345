"""Custom pods: who may write Workspaces gets no more by them than by Workspaces.

Whole templates go through the controller's own judgement and through a real API server whose namespace
enforces the baseline standard: both have to say the same.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from builders import workspace
from controlplane.plane import ControlPlane
from msgspec.structs import replace

from kaitoctl.kaito import custom_pod
from kaitoctl.kaito.desired import Settings, desired
from kaitoctl.kube import pod_reach, pod_security
from kaitoctl.kube.objects import Object
from kaitoctl.kube.pod_security import violations
from kaitoctl.workspace_controller import refusal_of

KINDS = ("containers", "initContainers")


def template(**spec: Any) -> Object:
    main = {"name": "main", "image": "registry.example/m:1"}
    first = {"name": "first", "image": "registry.example/f:1"}
    return {"metadata": {}, "spec": {"containers": [main], "initContainers": [first], **spec}}


def of(made: Object) -> Object:
    obj = workspace(inference={"template": made})
    del obj["inference"]["preset"]
    return obj


def refused(made: Object, settings: Settings | None = None) -> str:
    return refusal_of(of(made), settings or Settings())


def built(made: Object, settings: Settings | None = None) -> Object:
    """The spec of the pods that the controller makes of a template."""
    found: Object = desired(of(made), gpus=1, settings=settings or Settings())[-1][1]
    spec: Object = found["spec"]["template"]["spec"]
    return spec


# --- the Pod Security Standards ----------------------------------------------------------------------------

Change = Callable[[Object], None]


def in_container(path: str, value: Any) -> list[tuple[str, Change]]:
    """The change in either kind of container; `path` has dots."""
    return [(f"{kind}[0].{path}", setting(f"spec.{kind}.0.{path}", value)) for kind in KINDS]


def setting(path: str, value: Any) -> Change:
    def change(made: Object) -> None:
        *steps, last = path.split(".")
        at: Any = made
        for step in steps:
            at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
        at[last] = copy.deepcopy(value)

    return change


def annotated(key: str, value: str) -> tuple[str, Change]:
    def change(made: Object) -> None:
        made["metadata"].setdefault("annotations", {})[key] = value

    return f"annotation {key}={value}", change


def probing(field: str, how: str, host: str) -> list[tuple[str, Change]]:
    # An init container has probes only if it is a sidecar.
    changes = in_container(f"{field}.{how}", {"port": 80} | ({"host": host} if host else {}))

    def sidecar(change: Change) -> Change:
        def both(made: Object) -> None:
            made["spec"]["initContainers"][0]["restartPolicy"] = "Always"
            change(made)

        return both

    return [(f"{words} {host or 'no host'}", sidecar(change)) for words, change in changes]


APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
PROBES = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart", "lifecycle.preStop")

SOURCES: tuple[Object, ...] = (
    {"hostPath": {"path": "/etc"}},
    {"emptyDir": {}},
    {"nfs": {"server": "s", "path": "/"}},
    {"configMap": {"name": "c"}},
    {"persistentVolumeClaim": {"claimName": "c"}},
    {"secret": {"secretName": "s"}},
    {"csi": {"driver": "d.example"}},
    {"gitRepo": {"repository": "r"}},
    {"flexVolume": {"driver": "d"}},
    {"image": {"reference": "i"}},
    {"azureDisk": {"diskName": "d", "diskURI": "u"}},
    {"iscsi": {"targetPortal": "1.2.3.4:3260", "iqn": "iqn.2001-04.com.example:s", "lun": 0}},
    {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
)

CHANGES: list[tuple[str, Change]] = [
    *(
        change
        for field in PROBES
        for how in ("httpGet", "tcpSocket")
        for host in ("169.254.169.254", "127.0.0.1", "kubernetes.default", "")
        for change in probing(field, how, host)
    ),
    *(
        change
        for field in ("livenessProbe", "lifecycle.preStop")
        for change in in_container(f"{field}.exec", {"command": ["true"]})
    ),
    *in_container("livenessProbe.grpc", {"port": 80}),
    *(
        annotated(APPARMOR + name, profile)
        for name in ("main", "first")
        for profile in ("unconfined", "runtime/default", "localhost/mine")
    ),
    annotated("container.seccomp.security.alpha.kubernetes.io/main", "runtime/default"),
    annotated("example.org/other", "unconfined"),
    *(
        (f"pod {field} {profile}", setting(f"spec.securityContext.{field}", profile))
        for field in ("seccompProfile", "appArmorProfile")
        for profile in (
            {"type": "Unconfined"},
            {"type": "RuntimeDefault"},
            {"type": "Localhost", "localhostProfile": "p"},
        )
    ),
    *(
        change
        for field in ("seccompProfile", "appArmorProfile")
        for profile in (
            {"type": "Unconfined"},
            {"type": "RuntimeDefault"},
            {"type": "Localhost", "localhostProfile": "p"},
        )
        for change in in_container(f"securityContext.{field}", profile)
    ),
    *(change for value in (True, False) for change in in_container("securityContext.privileged", value)),
    *(
        change
        for names in (["SYS_ADMIN"], ["NET_RAW"], ["CHOWN", "KILL"], ["ALL"], ["CAP_CHOWN"], ["chown"], [])
        for change in in_container("securityContext.capabilities.add", names)
    ),
    *(
        change
        for options in (
            {"type": "spc_t"},
            {"type": "container_engine_t"},
            {"user": "u"},
            {"role": "r"},
            {"level": "s0:c1"},
            {"type": ""},
        )
        for change in (
            ("pod SELinux", setting("spec.securityContext.seLinuxOptions", options)),
            *in_container("securityContext.seLinuxOptions", options),
        )
    ),
    *(
        change
        for value in ("Unmasked", "Default")
        for change in in_container("securityContext.procMount", value)
    ),
    *(
        change
        for field in ("hostNetwork", "hostPID", "hostIPC", "hostUsers")
        for value in (True, False)
        for change in ((f"{field}: {value}", setting(f"spec.{field}", value)),)
    ),
    *(
        (f"sysctl {name}", setting("spec.securityContext.sysctls", [{"name": name, "value": "1"}]))
        for name in (
            "kernel.msgmax",
            "net.ipv4.tcp_rmem",
            "net.ipv4.tcp_notsent_lowat",
            "net.core.somaxconn",
            "net.ipv4.ip_unprivileged_port_start",
            "net.ipv4.tcp_slow_start_after_idle",
        )
    ),
    *in_container("ports", [{"containerPort": 7, "hostPort": 7}]),
    *in_container("ports", [{"containerPort": 7, "hostPort": 0}]),
    ("Windows", setting("spec.os", {"name": "windows"})),
    ("pod hostProcess", setting("spec.securityContext.windowsOptions", {"hostProcess": True})),
    *in_container("securityContext.windowsOptions", {"hostProcess": True}),
    *((f"volume {source}", setting("spec.volumes", [{"name": "v", **source}])) for source in SOURCES),
]


def templates() -> Iterator[tuple[str, Object]]:
    """Each change by itself, and many together."""
    for words, change in CHANGES:
        made = template()
        change(made)
        yield words, made
    drawn = random.Random(14)
    for _ in range(300):
        chosen = drawn.sample(CHANGES, drawn.randint(2, 6))
        made = template()
        for _words, change in chosen:
            change(made)
        yield " + ".join(words for words, _ in chosen), made


def test_a_real_api_server_judges_whole_templates_alike(control_plane: ControlPlane) -> None:
    namespace = "custom-pods-baseline"
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    metadata = {"name": namespace, "labels": labels}
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    answers = {True: 0, False: 0}
    for number, (words, made) in enumerate(templates()):
        spec = {**made["spec"], "serviceAccountName": "default", "automountServiceAccountToken": False}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"p{number}", **made["metadata"]},
            "spec": spec,
        }
        status, answer = control_plane.send("POST", path, pod)
        if status == 422:
            continue  # the API server takes it for no pod: it does not get as far as the standard
        refuses = status == 403 and "violates PodSecurity" in answer["message"]
        assert refuses or status == 201, answer.get("message")
        found = violations(made, "baseline")
        assert bool(found) is refuses, (words, found, answer.get("message"))
        assert refuses <= bool(refused(made)), words
        answers[refuses] += 1
        if not refused(made):
            pod = {**pod, "spec": built(made)}
            assert control_plane.send("POST", path, pod)[0] == 201, "what the controller makes of it"
    assert min(answers.values()) >= 90, answers
    control_plane.do("DELETE", f"/api/v1/namespaces/{namespace}")


def test_every_check_of_the_admission_plugin_is_named_with_a_function_that_is_there() -> None:
    assert len(pod_security.CHECKS) == 19
    assert all(callable(getattr(pod_security, name)) for name in pod_security.CHECKS.values())


@pytest.mark.parametrize("kind", [*KINDS, "ephemeralContainers"])
@pytest.mark.parametrize("field", PROBES)
@pytest.mark.parametrize("how", ["httpGet", "tcpSocket"])
def test_no_probe_and_no_hook_asks_another_host_from_the_node(kind: str, field: str, how: str) -> None:
    made = template(**{kind: [{"name": "main", "image": "i"}]})
    setting(f"spec.{kind}.0.{field}.{how}", {"port": 80, "host": "169.254.169.254"})(made)
    path = f"inference.template.spec.{kind}[0].{field}.{how}.host"
    assert f"{path}: 169.254.169.254 is not allowed by the baseline" in refused(made)


def test_no_annotation_turns_apparmor_off() -> None:
    made = template()
    made["metadata"]["annotations"] = {APPARMOR + "main": "unconfined"}
    assert "inference.template.metadata.annotations[" in refused(made)
    assert "--allow-privileged-templates" in refused(made)


# --- identities, Secrets, places ---------------------------------------------------------------------------

IDENTITY = "--allow-template-service-account"
SECRET = "--allow-template-secret"
SCHEDULING = "--allow-template-scheduling"
PRIVILEGED = "--allow-privileged-templates"
PULL = {"name": "pull"}


def volume(**kind: Any) -> Object:
    return template(volumes=[{"name": "v", **kind}])


def projected(**source: Any) -> Object:
    return volume(projected={"sources": [source]})


def container(kind: str = "containers", **fields: Any) -> Object:
    return template(**{kind: [{"name": "c", "image": "i", **fields}]})


def tolerating(**toleration: Any) -> Object:
    return template(tolerations=[toleration])


KEEPS_AWAY = {"topologyKey": "zone", "labelSelector": {}}

REACHING: dict[str, tuple[Object, str, str]] = {
    "a ServiceAccount": (
        template(serviceAccountName="admin"),
        "spec.serviceAccountName: admin",
        f"{IDENTITY} admin",
    ),
    "by its former name": (
        template(serviceAccount="admin"),
        "spec.serviceAccount: admin",
        f"{IDENTITY} admin",
    ),
    "the token": (
        template(automountServiceAccountToken=True),
        "spec.automountServiceAccountToken: true",
        f"{IDENTITY} default",
    ),
    "a projected token": (
        projected(serviceAccountToken={"path": "t", "audience": "vault"}),
        "spec.volumes[0].projected.sources[0].serviceAccountToken",
        f"{IDENTITY} default",
    ),
    "a certificate": (
        projected(podCertificate={"signerName": "s/x", "keyType": "ED25519"}),
        "spec.volumes[0].projected.sources[0].podCertificate",
        f"{IDENTITY} default",
    ),
    "a Secret by volume": (volume(secret={"secretName": "s"}), "spec.volumes[0].secret", f"{SECRET} s"),
    "a projected Secret": (
        projected(secret={"name": "s"}),
        "spec.volumes[0].projected.sources[0].secret",
        f"{SECRET} s",
    ),
    "a Secret by variable": (
        container(
            env=[
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            ]
        ),
        "spec.containers[0].env[1].valueFrom.secretKeyRef",
        f"{SECRET} s",
    ),
    "a Secret by variables": (
        container("initContainers", envFrom=[{"prefix": "P_", "secretRef": {"name": "s"}}]),
        "spec.initContainers[0].envFrom[0].secretRef",
        f"{SECRET} s",
    ),
    "a Secret by a driver": (
        volume(csi={"driver": "secrets-store.csi.k8s.io", "volumeAttributes": {"secretProviderClass": "p"}}),
        "spec.volumes[0].csi",
        f"{SECRET} '*'",
    ),
    "a share with a Secret": (
        volume(azureFile={"secretName": "s", "shareName": "x"}),
        "spec.volumes[0].azureFile",
        f"{SECRET} s",
    ),
    "a priority class": (
        template(priorityClassName="system-node-critical"),
        "spec.priorityClassName: system-node-critical",
        SCHEDULING,
    ),
    "a priority": (template(priority=2000001000), "spec.priority: 2000001000", SCHEDULING),
    "a node": (template(nodeName="gpu-1"), "spec.nodeName: gpu-1", SCHEDULING),
    "a scheduler": (template(schedulerName="mine"), "spec.schedulerName: mine", SCHEDULING),
    "a runtime": (template(runtimeClassName="nvidia"), "spec.runtimeClassName: nvidia", SCHEDULING),
    "devices": (
        template(resourceClaims=[{"name": "g", "resourceClaimName": "g"}]),
        "spec.resourceClaims",
        SCHEDULING,
    ),
    "a gang": (template(schedulingGroup={"podGroupName": "g"}), "spec.schedulingGroup", SCHEDULING),
    "every taint": (tolerating(operator="Exists"), "spec.tolerations[0]: every taint", SCHEDULING),
    "every taint of an effect": (
        tolerating(operator="Exists", effect="NoExecute"),
        "spec.tolerations[0]: every taint",
        SCHEDULING,
    ),
    "the control plane": (
        tolerating(key="node-role.kubernetes.io/control-plane", operator="Exists"),
        "spec.tolerations[0]: node-role.kubernetes.io/control-plane",
        SCHEDULING,
    ),
    "a cordoned node": (
        tolerating(key="node.kubernetes.io/unschedulable", operator="Exists"),
        "spec.tolerations[0]: node.kubernetes.io/unschedulable",
        SCHEDULING,
    ),
    "a node that goes": (
        tolerating(key="karpenter.sh/disrupted", operator="Exists"),
        "spec.tolerations[0]: karpenter.sh/disrupted",
        SCHEDULING,
    ),
    "nodes of the system": (
        tolerating(key="CriticalAddonsOnly", operator="Exists"),
        "spec.tolerations[0]: CriticalAddonsOnly",
        SCHEDULING,
    ),
    "others kept away": (
        template(
            affinity={
                "podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [KEEPS_AWAY | {"namespaceSelector": {}}]
                }
            }
        ),
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]",
        SCHEDULING,
    ),
    "others rather kept away": (
        template(
            affinity={
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": 100, "podAffinityTerm": KEEPS_AWAY | {"namespaces": ["theirs"]}}
                    ]
                }
            }
        ),
        "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]",
        SCHEDULING,
    ),
    "a program on the node": (volume(gitRepo={"repository": "r"}), "spec.volumes[0].gitRepo", PRIVILEGED),
    "somebody's disk": (
        volume(awsElasticBlockStore={"volumeID": "vol-1"}),
        "spec.volumes[0].awsElasticBlockStore",
        PRIVILEGED,
    ),
    "a field of the future": (template(hostEverything=True), "spec.hostEverything: True", PRIVILEGED),
    "a container of the future": (
        container("initContainers", nodeAccess={"all": True}),
        "spec.initContainers[0].nodeAccess",
        PRIVILEGED,
    ),
    "a volume of the future": (volume(host={}), "spec.volumes[0].host", PRIVILEGED),
    "a source of the future": (
        container(env=[{"name": "A", "valueFrom": {"vaultRef": {"name": "s"}}}]),
        "spec.containers[0].env[0].valueFrom.vaultRef",
        PRIVILEGED,
    ),
    **{
        f"somebody else's disk by {field}": (
            volume(ephemeral={"volumeClaimTemplate": {"spec": {field: value}}}),
            f"spec.volumes[0].ephemeral.volumeClaimTemplate.spec.{field}",
            PRIVILEGED,
        )
        for field, value in {
            "volumeName": "pv-of-somebody",
            "selector": {"matchLabels": {"team": "other"}},
            "dataSource": {"kind": "PersistentVolumeClaim", "name": "theirs"},
            "dataSourceRef": {"kind": "VolumeSnapshot", "name": "theirs", "namespace": "other"},
            "storageClassName": "",
        }.items()
    },
    "any disk without a class, by the annotation of old": (
        volume(
            ephemeral={
                "volumeClaimTemplate": {
                    "metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": ""}},
                    "spec": {},
                }
            }
        ),
        "spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.annotations",
        PRIVILEGED,
    ),
    "an unmasked kernel of old": (
        template()
        | {"metadata": {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}}},
        "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]",
        PRIVILEGED,
    ),
}

ALLOWED_BY = {
    IDENTITY: Settings(template_service_accounts=frozenset(["*"])),
    SECRET: Settings(template_secrets=frozenset(["*"])),
    SCHEDULING: Settings(allows_template_scheduling=True),
    PRIVILEGED: Settings(allows_privileged_templates=True),
}


@pytest.mark.parametrize("what", REACHING)
def test_a_template_reaches_for_nothing_unless_the_operator_allows_just_that(what: str) -> None:
    made, path, option = REACHING[what]
    words = refused(made)
    assert words.startswith(f"inference.template.{path}"), words
    assert words.endswith(f"unless the controller runs with {option}"), words
    for allowing, settings in ALLOWED_BY.items():
        assert (refused(made, settings) == "") is (allowing == option.partition(" ")[0]), allowing


def test_a_secret_and_a_service_account_are_allowed_by_name() -> None:
    named = Settings(template_service_accounts=frozenset(["s"]), template_secrets=frozenset(["s"]))
    other = replace(named, template_service_accounts=frozenset(["t"]), template_secrets=frozenset(["t"]))
    for made in (template(serviceAccountName="s"), volume(secret={"secretName": "s"})):
        assert refused(made, named) == ""
        assert refused(made, other) != ""
    assert refused(volume(csi={"driver": "d"}), named) != "", "who knows which Secret that is"


def test_debug_containers_are_refused_whatever_is_allowed() -> None:
    every = Settings(
        allows_privileged_templates=True,
        template_service_accounts=frozenset(["*"]),
        template_secrets=frozenset(["*"]),
        allows_template_scheduling=True,
    )
    made = template(ephemeralContainers=[{"name": "d", "image": "i"}])
    assert "Kubernetes takes none in a pod template" in refused(made, every)


def test_no_token_is_mounted_unless_the_service_account_is_allowed() -> None:
    assert built(template())["automountServiceAccountToken"] is False
    reader = Settings(template_service_accounts=frozenset(["reader"]))
    assert built(template(), reader)["automountServiceAccountToken"] is False, "that is the token of default"
    assert "automountServiceAccountToken" not in built(template(serviceAccountName="reader"), reader)
    declined = template(serviceAccountName="reader", automountServiceAccountToken=False)
    assert built(declined, reader)["automountServiceAccountToken"] is False


HARMLESS: dict[str, Object] = {
    "an empty folder, memory": template(
        volumes=[{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {"medium": "Memory"}}]
    ),
    "a claim": volume(persistentVolumeClaim={"claimName": "weights"}),
    "a claim of its own": volume(
        ephemeral={
            "volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast"}}
        }
    ),
    "a ConfigMap": volume(configMap={"name": "chat-template"}),
    "projected files": template(
        volumes=[
            {
                "name": "v",
                "projected": {"sources": [{"configMap": {"name": "c"}}, {"downwardAPI": {"items": []}}]},
            }
        ]
    ),
    "pull secrets": template(imagePullSecrets=[PULL]),
    "variables": container(
        env=[
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        ],
        envFrom=[{"configMapRef": {"name": "c"}}],
    ),
    "taints of its own nodes": template(
        tolerations=[
            {"key": "sku", "operator": "Equal", "value": "gpu"},
            {"key": "nvidia.com/gpu", "operator": "Exists"},
            {"key": "kubernetes.azure.com/scalesetpriority", "value": "spot"},
            {"key": "example.org/models"},
        ]
    ),
    "what every pod tolerates": tolerating(
        key="node.kubernetes.io/not-ready", operator="Exists", effect="NoExecute", tolerationSeconds=300
    ),
    "narrowing": template(
        nodeSelector={"zone": "a"},
        topologySpreadConstraints=[],
        affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [KEEPS_AWAY]}},
    ),
    "the usual": template(
        serviceAccountName="default",
        schedulerName="default-scheduler",
        nodeName="",
        priorityClassName="",
        automountServiceAccountToken=False,
    ),
    "probes of itself": container(
        livenessProbe={"httpGet": {"path": "/health", "port": 5000}},
        lifecycle={"preStop": {"exec": {"command": ["true"]}}},
    ),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_what_reaches_for_nothing_is_as_before(what: str) -> None:
    made = HARMLESS[what]
    assert refused(made) == ""
    for field, value in made["spec"].items():
        if field not in ("affinity", "tolerations", "automountServiceAccountToken"):
            assert built(made)[field] == value


def test_many_reasons_are_told_together() -> None:
    made = template(
        nodeName="n", priorityClassName="p", serviceAccountName="s", volumes=[{"name": "v", "hostPath": {}}]
    )
    words = refused(made)
    assert all(path in words for path in ("nodeName", "priorityClassName", "serviceAccountName", "hostPath"))
    assert refused(template(**{f"field{number}": 1 for number in range(9)})).endswith("; and more")


# --- volumes that a Workspace brings along beside a template ----------------------------------------------


def _with_volume(place: str, source: Object) -> Object:
    if place == "adapter":
        adapters = [{"source": {"name": "a", "volumeSource": source}}]
        return workspace(inference={"preset": {"name": "phi-4"}, "adapters": adapters})
    asked: Object = {
        "preset": {"name": "phi-4"},
        "method": "lora",
        "input": {"urls": ["https://data.example/a"]},
        "output": {"image": "r.io/a:1", "imagePushSecret": "p"},
        place: {"volumeSource": source},
    }
    made = workspace(tuning=asked)
    del made["inference"]
    return made


@pytest.mark.parametrize("place", ["adapter", "input", "output"])
@pytest.mark.parametrize(
    ("source", "option"),
    [
        ({"hostPath": {"path": "/"}}, PRIVILEGED),
        ({"gitRepo": {"repository": "r"}}, PRIVILEGED),
        ({"csi": {"driver": "vault.example"}}, f"{SECRET} '*'"),
        ({"azureFile": {"secretName": "s", "shareName": "x"}}, f"{SECRET} s"),
        ({"persistentVolumeClaim": {"claimName": "c"}}, ""),
        ({"nfs": {"server": "s", "path": "/"}}, ""),
    ],
    ids=str,
)
def test_a_volume_gets_at_no_more_than_one_of_a_template(place: str, source: Object, option: str) -> None:
    ws = _with_volume(place, source)
    where = "inference.adapters[0].source" if place == "adapter" else f"tuning.{place}"
    said = refusal_of(ws, Settings())
    if not option:
        assert said == ""
        return
    assert said.startswith(f"{where}.volumeSource.{next(iter(source))} ")
    assert f"unless the controller runs with {option}" in said
    allowed = Settings(allows_privileged_templates=True, template_secrets=frozenset({"*"}))
    assert refusal_of(ws, allowed) == ""


# --- no field is forgotten ---------------------------------------------------------------------------------


def test_every_field_that_a_real_api_server_has_is_sorted(control_plane: ControlPlane) -> None:
    status, found = control_plane.send("GET", "/openapi/v3/api/v1")
    assert status == 200
    schemas = found["components"]["schemas"]

    def fields(kind: str) -> set[str]:
        return set(schemas[f"io.k8s.api.core.v1.{kind}"]["properties"])

    assert fields("PodSpec") - set(pod_reach.POD_FIELDS) == set()
    assert fields("Container") - set(pod_reach.CONTAINER_FIELDS) == set()
    assert fields("Volume") - set(pod_reach.VOLUMES) == set()
    assert fields("PersistentVolumeClaimSpec") - set(pod_reach.CLAIM_FIELDS) == set()
    assert fields("VolumeProjection") - set(pod_reach.PROJECTIONS) == set()
    assert fields("EnvVarSource") - set(pod_reach.ENVIRONMENT) == set()
    assert fields("EnvFromSource") - set(pod_reach.WHOLE_ENVIRONMENT) == set()
    named = "io.k8s.api.core.v1."
    container = schemas[f"{named}Container"]["properties"]
    asking = {name for name, field in container.items() if f"{named}Probe'" in str(field)}
    assert asking == {"livenessProbe", "readinessProbe", "startupProbe"}
    assert fields("Lifecycle") == {"postStart", "preStop", "stopSignal"}
    with_host = {
        kind for kind in schemas if kind.endswith("Action") and "host" in schemas[kind]["properties"]
    }
    assert with_host == {f"{named}HTTPGetAction", f"{named}TCPSocketAction"}


def test_the_options_are_those_that_the_messages_name() -> None:
    assert (custom_pod.PRIVILEGED, custom_pod.SERVICE_ACCOUNT, custom_pod.SECRET, custom_pod.SCHEDULING) == (
        PRIVILEGED,
        IDENTITY,
        SECRET,
        SCHEDULING,
    )
