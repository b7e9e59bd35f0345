"""Rules about what a kubelet prepares before the first container: volumes, and the pod's sandbox."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kaitoctl.advice import Command
from kaitoctl.kaito import kubectl_hints
from kaitoctl.kaito.diagnosis.case import (
    FILES_LOST,
    NO_PROCESS_LEFT,
    Case,
    blame,
    event_words,
    is_creating,
    title_of,
)
from kaitoctl.kaito.diagnosis.cause import Cause
from kaitoctl.kaito.diagnosis.of_configuration import is_reference_missing
from kaitoctl.kaito.diagnosis.reasons import code_of
from kaitoctl.kube import conditions, pod_state
from kaitoctl.kube.objects import Object, dig, key_of

# What to do about the words of an event. Source: Kubernetes v1.37.2, pkg/volume, pkg/controller/volume/
# attachdetach; the CSI drivers of Azure, AWS and NFS.
_VOLUME_HINTS = (
    (
        r"(?i)fetch token.{0,300}(?:i/o timeout|connection refused|no route to host|deadline exceeded)",
        "the kubelet does not reach the API server: check the node's network; it tries again",
    ),
    (
        r"(?i)fetch token: pod \S+ not found",
        "the API server has no such pod any more: the kubelet hears of that and ends it; if it stays, "
        "restart the kubelet there",
    ),
    (
        r"(?i)fetch token|service ?accounts? \S+ (?:not found|is forbidden)",
        "the pod's ServiceAccount is missing, or may have no token: check it",
    ),
    (
        r"(?i)SecretProviderClass\S{0,60} \S{1,260} not found",
        "there is no SecretProviderClass of that name in the pod's namespace: create it there",
    ),
    (
        r"provider not found: provider ",
        "the driver's provider for that vault does not run on the node: install it, or check its DaemonSet",
    ),
    (
        r"(?i)secrets[- ]store|SecretProviderClass",
        "the vault does not give what the SecretProviderClass names: check the names there, and the rights "
        "of the pod's identity in the vault",
    ),
    (
        r"(?i)image volume|failed to pull|pull and unpack|ErrImagePull",
        "the image of that volume cannot be pulled: check its name, and the pull secrets",
    ),
    (
        r"(?i)failed to sync (?:secret|configmap) cache|object \"[^\"]*\"/\"[^\"]*\" not registered",
        "the kubelet has not seen the object yet, or does not reach the API server: it tries again",
    ),
    (
        r"(?i)PVC is not bound|has empty pvc\.Spec\.VolumeName",
        "its claim is bound to no volume, or has lost it: check the claim, and restore its PersistentVolume",
    ),
    (
        r"(?i)PVC is being deleted|the volume is marked for deletion",
        "its claim is being deleted, and what is on it may go, too: check who deleted it",
    ),
    (
        r"(?i)persistentvolumes? \"[^\"]+\" not found|failed to fetch PV |can'?t find PV",
        "the PersistentVolume of its claim is gone: create it again if its disk is still at the storage; "
        + FILES_LOST,
    ),
    (
        r"pv\.Spec\.ClaimRef",
        "the PersistentVolume belongs to another claim, often one of the same name that was deleted since: "
        "check its claimRef, and take the uid out of it if this claim is to have it",
    ),
    (
        r"has volumeMode |access type (?:mount|block) but volume",
        "the claim is a raw block device and the pod mounts a file system, or the other way round: check its "
        "volumeMode",
    ),
    (
        r"(?i)MountOptionSupport check failed|mount options? (?:are |is )?not supported",
        "the storage takes no mount options: take them out of the PersistentVolume or its class",
    ),
    (
        r"rpc\.statd|rpcbind|portmap query failed",
        "the node lacks what NFS 3 locks files by: start rpc.statd there (rpcbind, nfs-common), or mount "
        "with NFS 4 or nolock (mountOptions)",
    ),
    (
        r"mount\.nfs4?: .{0,80}(?:timed out|Connection refused|No route to host|unreachable)|"
        r"clnt_create: RPC: |RPC: (?:Program not registered|Port mapper failure|Unable to (?:send|receive))",
        "the node does not reach the NFS server: check that its service runs there, and the firewall and "
        "network between them",
    ),
    (
        r"reason given by server: No such file or directory",
        "the NFS server does not have or export this path: correct it, or export it there",
    ),
    (
        r"mount\.nfs4?: .{0,60}(?:[Pp]rotocol not supported|version or transport|not supported)",
        "the server does not speak the version of NFS that is asked for: name another (mountOptions, "
        "nfsvers)",
    ),
    # cifs-utils mount.cifs prints the error's number (Linux errno).
    (
        r"mount error ?\(2\)",
        "the file server has no such share or folder: correct its name in the PersistentVolume, or make it "
        "there",
    ),
    (
        r"mount error ?\((?:101|11[0-35])\)|Host is down",
        "the node does not reach the file server (SMB, port 445): check the storage's firewall and private "
        "endpoint, and what the network lets through",
    ),
    (
        r"mount error ?\((?:22|95)\)",
        "the file server does not take these options or this version of SMB: see mountOptions of the volume "
        "or its class",
    ),
    (
        r"(?i)EncryptionKey|KMS[ -]?key|DiskEncryptionSet|KeyVault.{0,80}(?:key|access)|\bkms\.",
        "the key that the disk is encrypted with cannot be used: check that it is there and enabled, and "
        "that the storage driver's identity may use it",
    ),
    (
        r"(?i)transport endpoint is not connected",
        "the program that serves this mount on the node (FUSE) has ended: recreate the pod; if that is not "
        "enough, restart the storage driver's pod there",
    ),
    (
        r"(?i)modules? loaded|unknown filesystem type|mount\.\w{2,12}: .{0,120}No such device",
        "the node's kernel does not know this file system: install its module or client there",
    ),
    (
        r"duplicate UUID",
        "a copy of this disk (a clone, a snapshot) is mounted on the node: take another node, or the mount "
        "option nouuid",
    ),
    (
        r"(?i)(?:Ultra ?SSD|PremiumV2)\w{0,6}.{0,160}(?:only when|not (?:supported|enabled))|"
        r"additionalCapabilities",
        "the node was not made for this kind of disk: enable it for its node pool, or take another storage "
        "class",
    ),
    (
        r"(?i)expected (?:device )?to be (?:attached|detached) but was|"
        r"(?:still|is in state|state:?) ['\"]?(?:attaching|detaching)",
        "the cloud is not done with the disk, or it hangs there: wait; if it stays so, see the disk and the "
        "machine in the cloud, and detach it",
    ),
    (
        r"(?i)not been staged|is not staged|staging (?:target )?path .{0,120}(?:not|is empty)",
        "the storage driver on the node has lost what it had prepared, mostly in a restart: it tries again; "
        "if it stays so, recreate the pod",
    ),
    (
        r"(?i)size reported to be zero|no medium found|(?:find|found|locate) (?:the )?(?:device|disk|nvme)|"
        r"\bdevice .{0,80}(?:not found|does not exist)|no disk.{0,40}lun",
        "the disk is attached, and the node does not see it: check the node's kernel log; detach it there, "
        "or take another node",
    ),
    (
        r"(?i)operation with the given volume(?: id)? \S* ?already exists|\bAborted\b",
        "the storage driver is still at work on the volume: it tries again; if it stays so, check its log",
    ),
    (
        r"(?i)Multi-Attach|already (exclusively )?attached|already used by",
        "the disk can be on one node at a time: wait until the pod that holds it has ended, or use a "
        "volume with access mode ReadWriteMany",
    ),
    (
        r"(?i)wrong zone|not in (?:availability )?zone\b|"
        r"\b(?:in|of) (?:availability )?zone .{1,160}\bzone\b|(?:different|same|another) "
        r"(?:availability )?zone|NodeAffinity check failed|no matching NodeSelectorTerms",
        "the volume is in another zone than this node: take a node there, or copy what is on it",
    ),
    (
        r"external[- ]attacher",
        "the part of the CSI driver that attaches disks, a Deployment or the cloud's own, has not done so: "
        "check its log, and the VolumeAttachment",
    ),
    (
        r"(?i)driver name \S+ not found|no such driver|not registered|csinode|CSI driver",
        "the CSI driver does not run on this node: check its DaemonSet",
    ),
    (
        r"(?i)code = NotFound|(?:volume|disk)\b.{0,60}\bnot found|does not exist in (?:the )?(?:zone|region)|"
        r"(?:bucket|container|share|file ?system) \S{0,80} ?does not exist",
        "the disk behind the volume is gone from the storage: check the PersistentVolume, and restore it",
    ),
    (
        r"(?i)failed to resolve (?:server|\")|name or service not known|no such host",
        "the node cannot resolve the name of the storage's server: check it, and the node's DNS",
    ),
    (r"(?i)no space left|disk quota exceeded", "the disk of the node, or the volume, is full"),
    (
        r"(?i)input/output error|structure needs cleaning",
        "the disk or its file system is broken: check the storage, and the node's kernel log",
    ),
    (
        r"(?i)read-only file system",
        "the node's disk is read-only, mostly because it breaks: see its kernel log, and take another node",
    ),
    (
        r"(?i)hostPath type check failed|is not a directory|no such file or directory|does not exist",
        "the path is not on this node: create it there, or take a node that has it",
    ),
    (
        r"(?i)permission denied|access denied|\b(?:status|code|error)\b\D{0,12}40[13]\b|unauthorized|"
        r"forbidden|not authorized|authentication failed|failed to authenticate|AADSTS\d|"
        r"Credential\w{0,20} (?:authentication|unavailable)|\b40[13] \w{0,20}(?:Authori|Authent)|"
        r"AuthorizationFailure",
        "the storage refuses the node or its identity: check its access rules",
    ),
    (
        r"(?i)wrong fs type|bad superblock|fsck|filesystem|mount: |exit status 32",
        "the node cannot mount what is on the volume: check its file system, and the node's mount helpers",
    ),
    (
        r"(?i)timed? ?out|deadline exceeded|connection refused|no route|unavailable",
        "the storage does not answer in time: check that the node reaches it",
    ),
    (r"(?i)attach.*limit|maximum number|too many", "the node has as many disks as it can have: take another"),
    (r"(?i)resize", "the volume cannot grow: check its claim and storage class"),
)
_SANDBOX_HINTS = (
    NO_PROCESS_LEFT,
    (
        r"(?i)no runtime for|containerd-shim-\S+?\"?:|RuntimeHandler|runtime handler|unknown runtime",
        "the container runtime of the node does not have this runtime class: check the GPU operator's "
        "container toolkit there",
    ),
    (
        r"(?i)already has an IP address different from",
        "the node's bridge has an address of an older network: restart the network plugin there, or the node",
    ),
    (
        r"(?i)nvidia-container-runtime\S*: |nvidia-container-cli|nvml|driver/library version mismatch",
        "the NVIDIA container toolkit or driver of the node is missing or broken: check the GPU operator's "
        "pods there",
    ),
    (
        r"(?i)seccomp|apparmor|user namespaces?\b",
        "the node's kernel or container runtime cannot do what the pod's securityContext asks for: take "
        "another node, or leave it out",
    ),
    (
        r"(?i)assign an? (ip|address)|no (free |available )?(ip|address)|ip "
        r"address|ipam|insufficient.*ip|IPs|range is full",
        "the network has no address left: enlarge the subnet, or take pods off the node",
    ),
    (
        r"(?i)network-attachment-definitions?\S* .{0,60}not found|cannot find a network-attachment",
        "the network that the pod's annotation k8s.v1.cni.cncf.io/networks names does not exist: create it, "
        "or take it out",
    ),
    (
        r"(?i)too many open files|inotify",
        "the node has used up its open files or inotify watches: raise fs.inotify and nofile there",
    ),
    (
        r"(?i)cgroup.{0,80}no space left|cannot allocate memory",
        "the node has too many cgroups, or no memory for another: drain and reboot it",
    ),
    (
        r"(?i)cni|multus|network plugin|subnet\.env|network is not ready|networkPlugin|plugin type=",
        "the network plugin of the node is not ready: check its DaemonSet pod there",
    ),
    (
        r"(?i)sandbox image|pause",
        "the node cannot pull the sandbox image: check its registry settings",
    ),
    (
        r"(?i)resource ?claim|dynamic resource|DRA|prepare",
        "check the ResourceClaims and their driver on the node",
    ),
    (r"(?i)no space left|disk", "the node's disk is full"),
    (
        r"(?i)name .{0,60}is reserved|deadline ?exceeded|context canceled|transport is closing",
        "the container runtime of the node is stuck, or waits for its network plugin: check both, restart it",
    ),
    (
        r"expected cgroupsPath",
        "the kubelet and the container runtime of the node use different cgroup drivers: set both to systemd",
    ),
    (r"resolv\.conf", "the kubelet's resolvConf names a file that the node does not have: correct it"),
    (r"(?i)cgroup|systemd", "the node's cgroups are out of order: restart its container runtime"),
)
_LOST = r"PVC is not bound|persistentvolumes? \"[^\"]+\" not found|failed to fetch PV "


def volumes(case: Case) -> Iterator[Cause]:
    """Volumes that cannot be attached or mounted, and sandboxes that cannot be made."""
    for pod in case.pods:
        if not _is_prepared(pod):
            continue
        for event in case.seen.events_of(pod):
            code = code_of("event", str(event.get("reason") or ""))
            words = str(event.get("message") or event.get("note") or "")
            if code == "volume-unavailable" and not is_reference_missing(words):
                yield _volume(case, pod, event, words)
                break
            if code == "pod-sandbox-failed":
                yield _sandbox(case, pod, [event_words(event)], words)
                break
    for pod in case.pods:
        for item in pod_state.container_statuses(pod):
            reason = str(dig(item, "state", "waiting", "reason") or "")
            if code_of("waiting", reason) == "pod-sandbox-failed":
                words = str(dig(item, "state", "waiting", "message") or reason)
                yield _sandbox(case, pod, [(f"container {item['name']}", f"{reason}: {words}")], words)
                break


def _is_prepared(pod: Object) -> bool:
    """Whether the kubelet is still at work on what comes before the containers."""
    return is_creating(pod) and not conditions.is_true(pod, "PodReadyToStartContainers")


def _hint(words: str, hints: tuple[tuple[str, str], ...], default: str) -> str:
    return next((hint for pattern, hint in hints if re.search(pattern, words)), default)


def _volume(case: Case, pod: Object, event: Object, words: str) -> Cause:
    claims = [ref.name for ref in pod_state.references(pod) if ref.kind == "PersistentVolumeClaim"]
    named = [
        ref.name
        for ref in pod_state.references(pod)
        if ref.kind == "PersistentVolumeClaim" and f'"{ref.by}"' in words
    ] or ([] if _is_of_another(pod, words) else claims)
    evidence = [event_words(event)]
    if named:
        evidence.append(("pod", f"its volume claims: {', '.join(named)}"))
    holder = re.search(r"already used by pod\(s\) (?P<pods>[^\n]+)", words)
    of = f" of claim {named[0]}" if len(named) == 1 else ""
    held = f"; {holder['pods'].strip()} holds it" if holder else ""
    what = "attached" if "Attach" in str(event.get("reason")) else "mounted"
    return blame(
        "volume-lost" if re.search(_LOST, words) else "volume-unavailable",
        title_of(pod),
        f"a volume{of} cannot be {what}{held}: {words}",
        evidence,
        hint=_hint(words, _VOLUME_HINTS, "check the message, and the storage driver's log"),
        command=Command("kubectl describe pvc", *named, *case.in_namespace)
        if named
        else kubectl_hints.describe(pod),
    )


def _is_of_another(pod: Object, words: str) -> bool:
    """Whether an event names a volume of the pod that is no claim; of claims it names their volumes."""
    named = re.search(r'for volume "([^"]+)"', words)
    volumes = {str(item.get("name")): item for item in dig(pod, "spec", "volumes") or ()}
    if named is None:
        return False
    if named[1].startswith("kube-api-access-"):
        return True
    return named[1] in volumes and "persistentVolumeClaim" not in volumes[named[1]]


def _sandbox(case: Case, pod: Object, evidence: list[tuple[str, str]], words: str) -> Cause:
    node = str(dig(pod, "spec", "nodeName") or "")
    return blame(
        "pod-sandbox-failed",
        title_of(pod),
        f"node {node} cannot make the pod's sandbox: {words}",
        evidence,
        hint=_hint(words, _SANDBOX_HINTS, "check the message, and the container runtime's log on the node"),
        command=Command("kubectl describe node", node) if node else kubectl_hints.describe(pod),
    )


# Why a claim has no volume, by the words of its events. Source: Kubernetes v1.37.2 pkg/controller/volume/
# persistentvolume/pv_controller.go; kubernetes-csi external-provisioner 6.0 pkg/controller.
_CLAIM_HINTS = (
    (
        r"storageclass\S* \"?(?P<storage>[^\s\"]+)\"? not found",
        "there is no StorageClass {storage}: create it; the class of a claim cannot be changed, so else "
        "create another claim",
    ),
    (
        r"no storage class is set",
        "the claim names no storage class, and the cluster has no default one: name one, or create a volume "
        "that fits it",
    ),
    (
        r"(?i)Cannot bind to requested volume .{0,200}|already bound to a different claim",
        "the volume that the claim names does not fit it, or is another's: check both",
    ),
    (
        r"(?i)has lost (?:its|reference)|bound incorrectly",
        "the PersistentVolume of the claim is gone or another's: create it again, with a claimRef of the "
        "claim, if its disk is still at the storage; " + FILES_LOST,
    ),
    (
        r"(?i)quota|exceeded|limit reached",
        "the storage's quota is used up: raise it, or free what is not needed",
    ),
    (
        r"(?i)Waiting for a volume to be created|external provisioner",
        "the storage driver has not made it yet: check that its controller runs; the event names it",
    ),
    (
        r"(?i)access ?mode|ReadWriteMany|MULTI_NODE",
        "the storage cannot do the claim's access mode: choose another, or another storage class",
    ),
    (
        r"(?i)UnauthorizedOperation|AuthorizationFailed|not authorized|permission_?denied|\b403\b",
        "the storage driver's identity may not make volumes: give it the rights in the cloud",
    ),
)


def unbound_claims(case: Case, pod: Object) -> tuple[list[tuple[str, str]], str]:
    """What is said of the pod's claims that have no volume: evidence, and what to do; empty without such."""
    evidence: list[tuple[str, str]] = []
    hint = ""
    names = {ref.name for ref in pod_state.references(pod) if ref.kind == "PersistentVolumeClaim"}
    for claim in case.seen.unbound:
        name = str(claim["metadata"]["name"])
        if name not in names:
            continue
        words, better = claim_words(case, claim)
        evidence += words
        hint = hint or better
    return evidence, hint


def claim_words(case: Case, claim: Object | None) -> tuple[list[tuple[str, str]], str]:
    """What is said of a claim that has no volume, and what to do; empty for one that has, or none."""
    if claim is None or dig(claim, "status", "phase") == "Bound":
        return [], ""
    storage, hint = dig(claim, "spec", "storageClassName"), ""
    words = f"{key_of(claim).name} is {dig(claim, 'status', 'phase')}, StorageClass {storage or 'not named'}"
    evidence = [("PersistentVolumeClaim", words)]
    for event in case.seen.events_of(claim)[:1]:
        source, said = event_words(event)
        evidence.append((source, said))
        for pattern, advice in _CLAIM_HINTS:
            if not hint and (found := re.search(pattern, said)):
                hint = advice.format_map(found.groupdict())
    return evidence, hint
