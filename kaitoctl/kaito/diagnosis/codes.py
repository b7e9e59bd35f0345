"""What each cause of `kaitoctl why` means and what mends it.

`kaitoctl explain` and docs/troubleshooting.md print this table. Codes are stable: scripts and documents may
rely on them. What is wrong with a node has the codes of `kaito.nodes`, in both commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of cause.

    Args:
        title: a few words.
        shows: how it shows itself, in what `kubectl` or KAITO's conditions say.
        meaning: what is so, and how it comes about.
        mend: what to do.
    """

    title: str
    shows: str
    meaning: str
    mend: str


CODES: Mapping[str, Code] = MappingProxyType(
    {
        # --- the cluster and the Workspace itself
        "crd-missing": Code(
            "the cluster does not know Workspaces",
            '`the server could not find the requested resource`, `no matches for kind "Workspace"`',
            "The CustomResourceDefinition workspaces.kaito.sh is not installed, so that no object of the "
            "kind can exist.",
            "Install KAITO, or only the CRD that ships with kaitoctl: `kaitoctl schema` prints it.",
        ),
        "crd-version": Code(
            "the cluster serves other versions of Workspaces",
            '`no matches for kind "Workspace" in version ...`',
            "The CRD is there, but serves none of the versions that kaitoctl speaks (v1alpha1, v1beta1), "
            "or not the one of the manifest. KAITO v0.3 and v0.4 serve v1alpha1 only; v0.12 serves both.",
            "Write the manifest in a version that is served (`kaitoctl convert`), or install the KAITO "
            "that goes with it.",
        ),
        "controller-not-running": Code(
            "no controller has taken the Workspace up",
            "the Workspace has no status, no finalizer and no events",
            "Nothing in the cluster reacts to Workspaces: KAITO is not installed, its pod does not run, "
            "or it waits for a leader lease that somebody else holds.",
            "`kaitoctl doctor` shows what is installed. Look at the controller's pod and its log. Where "
            "KAITO is not wanted, `kaitoctl run-controller` manages Workspaces.",
        ),
        "controller-silent": Code(
            "the controller knows the Workspace and says nothing",
            "KAITO's finalizer is there, and no condition",
            "KAITO v0.3 and v0.4 write no condition for some errors, such as a preset that is not "
            "registered: they log it and try again. A crash of the controller looks the same; one bad "
            "Workspace can crash it for all.",
            "`kaitoctl validate` finds most of what those versions trip over. The controller's log has "
            "the error.",
        ),
        "controller-busy": Code(
            "KAITO is busy with other Workspaces",
            "the Workspace has no status, or its deletion does not begin, while KAITO's pod is ready; five "
            "other Workspaces are not ready",
            "KAITO works on five Workspaces at a time. Up to v0.8 it waits inside a pass until nodes and "
            "pods are ready, up to 30 minutes; five that never will be, for want of nodes say, stop all "
            "others, deletions included.",
            "`kaitoctl why` on the Workspaces that it names. The controller goes on by itself when one of "
            "them is ready or its time is up. Do not start another controller beside it.",
        ),
        "template-refused": Code(
            "the controller does not make this custom pod",
            "`inference.template.... not allowed unless the controller runs with --allow-...`",
            "kaitoctl's controller makes no pod that gives the author of a Workspace more than writing "
            "Workspaces does: what the baseline Pod Security Standard forbids, ServiceAccounts and their "
            "tokens, Secrets, other nodes, priorities. What runs already goes on.",
            "Take the field out of the template. Or whoever runs the controller allows just that, with the "
            "option that the message names; docs/security.md has all of them.",
        ),
        "reconcile-error": Code(
            "the controller's last pass ended with an error",
            "`(last reconcile error: ...)` at the end of the conditions' messages",
            "From v0.9 on KAITO appends the error of its last pass to every condition of the Workspace. What "
            "passes by itself, such as a lost update or a timeout, is not counted here.",
            "Change what the error names. Where it names nothing of yours, the controller's log has more.",
        ),
        "generation-not-observed": Code(
            "the last change has not been taken up",
            "conditions have an `observedGeneration` smaller than `metadata.generation`",
            "The controller has stopped since, or is still busy: KAITO v0.3 and v0.4 wait inside one "
            "pass, up to 30 minutes, and neither changes nor deletions get through meanwhile.",
            "See that the controller runs. With those versions the pass ends by itself at the preset's "
            "time limit.",
        ),
        "finalizer-holds-deletion": Code(
            "a finalizer holds the deletion",
            "`deletionTimestamp` is set, and the object stays",
            "Kubernetes removes an object when its last finalizer is gone. KAITO removes its own once it "
            "has asked for the deletion of its nodes; one of somebody else, a stopped controller, or a "
            "NodeClaim that cannot be drained keeps the object for ever.",
            "Start the controller that owns the finalizer. Remove a finalizer by hand only when what it "
            "guards is gone: a machine left behind costs money.",
        ),
        "name-conflict": Code(
            "another object has the name already",
            "condition `InferenceReady` with reason `NameConflict` (kaitoctl); with KAITO no word at all",
            "The Workspace's Deployment, StatefulSet, Job or Service would be called like one that "
            "belongs to somebody else. kaitoctl's controller touches nothing that it does not own. KAITO "
            "adopts such objects and changes them; v0.12 deletes a Deployment of that name.",
            "Give the Workspace another name, or move the other object away.",
        ),
        "immutable-field": Code(
            "a field was changed that cannot change",
            "`field is immutable`, `updates to statefulset spec ... are forbidden`; or a Workspace that "
            "differs from its first ControllerRevision",
            "KAITO's webhook refuses changes of instanceType, count, labelSelector and the preset. Where "
            "it does not run, the change is stored, and the objects made before cannot follow it.",
            "Change the field back. To have it so, create another Workspace beside it, and delete this one "
            "when the other serves: deleting stops the model.",
        ),
        "workspace-invalid": Code(
            "KAITO's rules refuse the Workspace",
            "condition `ResourceReady` or `InferenceReady` with `...StatusFailed`; KAITO v0.3 may say "
            "nothing",
            "The Workspace is stored, and breaks a rule that the controller needs. The codes KW1.. beside"
            " it are those of `kaitoctl validate`.",
            "`kaitoctl explain KW...` has the rule; change the Workspace.",
        ),
        "controller-says": Code(
            "the controller gives a reason of its own",
            "a condition that is False",
            "The controller says what is wrong, and nothing else was found that would explain it.",
            "Read the message; the controller's log has more.",
        ),
        # --- nodes
        "quota-exceeded": Code(
            "the cloud's quota is used up",
            "a NodeClaim or Machine with `Launched` False, a message with `quota`; the Workspace waits "
            "for nodes",
            "The subscription or account may not have more vCPUs (or GPUs) of this family in this region."
            " No retry helps until the quota is raised or machines are given back.",
            "Ask the cloud for quota of the family, delete what is not needed (`kaitoctl nodes` shows who"
            " holds GPUs), or take an instance type of another family (`kaitoctl fit PRESET`).",
        ),
        "instance-type-unavailable": Code(
            "the cloud has no such machine now",
            "`all requested instance types were unavailable during launch`, `InsufficientCapacity`, "
            "`SkuNotAvailable`",
            "The instance type does not exist in this region or zone, is not offered to this "
            "subscription, or is sold out at the moment.",
            "Check its spelling and its region (`kaitoctl skus`), wait, or take another one (`kaitoctl "
            "fit PRESET`).",
        ),
        "node-claim-failed": Code(
            "a node could not be created",
            "a NodeClaim or Machine with `Launched` False",
            "The node provisioner tried to start a machine, and the cloud refused for another reason than"
            " quota or capacity: permissions, a missing node class, a network without room.",
            "Read the message; `kubectl describe nodeclaim` and the provisioner's log have more.",
        ),
        "node-claim-pending": Code(
            "a node is on its way",
            "a NodeClaim without `Registered`, or without any condition",
            "A machine was asked for and has not joined the cluster. That takes minutes. Without any "
            "condition nobody has taken the claim up: no node provisioner runs. Launched and never "
            "registered means that the machine cannot reach the API server, or that its start-up failed.",
            "Wait some minutes. Then look at the provisioner (Karpenter, gpu-provisioner) and its log.",
        ),
        "no-node-provisioner": Code(
            "nobody can create nodes here",
            "condition `ResourceReady` with reason `NodesMissing`",
            "There are too few fitting nodes, and the cluster has no NodeClaim API by which new ones "
            "could be asked for.",
            "Prepare nodes (`kaitoctl check-nodes` says what they lack), or install Karpenter or KAITO's "
            "gpu-provisioner.",
        ),
        "device-plugin-missing": Code(
            "the GPU device plugin does not run on the node",
            "`nvidia.com/gpu` is neither in capacity nor in allocatable of a GPU machine; a NodeClaim "
            "stays at `ResourceNotRegistered`",
            "Kubernetes learns of GPUs from the vendor's device plugin, a DaemonSet. It is not installed,"
            " its node selector or tolerations keep it off this node, or the driver is missing, so that "
            "it finds nothing. KAITO v0.3 and v0.4 do not wait for it and report the plugin as installed.",
            "See whether the plugin's pod runs on the node; install the device plugin or the GPU operator.",
        ),
        # --- pods
        "workload-missing": Code(
            "its Deployment or StatefulSet is gone",
            "conditions say ready, and there is no Deployment or StatefulSet of the name",
            "Somebody has deleted the workload, and the controller has not made it again: it does not "
            "run, or KAITO v0.3 and v0.4 have not looked at the Workspace since. Conditions say what was "
            "so then.",
            "`kaitoctl doctor` shows whether the controller runs. One that runs and does nothing is to be "
            "restarted; it makes the workload again.",
        ),
        "scaled-to-zero": Code(
            "somebody has scaled it to 0",
            "the Deployment or StatefulSet has `spec.replicas: 0`; conditions may say ready all the same",
            "There are no pods, so nobody is served. KAITO v0.3 and v0.4 neither set replicas back nor "
            "take their condition away. `managedFields` says who wrote it: kubectl, an autoscaler such as "
            "KEDA, a tool that saves costs at night.",
            "Scale it up: `kubectl scale deployment NAME --replicas=1`. Where an autoscaler did it, see "
            "its rules first.",
        ),
        "workload-paused": Code(
            "somebody has halted the rollout",
            "a Deployment with `spec.paused`, a StatefulSet with a partition or `OnDelete`, a Job with "
            "`spec.suspend`",
            "Kubernetes makes no new pods of a paused Deployment or a suspended Job, and leaves older "
            "pods of a StatefulSet below its partition as they are. Kueue suspends jobs until their queue "
            "admits them.",
            "`kubectl rollout resume deployment NAME`; for a Job see its queue.",
        ),
        "pods-refused": Code(
            "the API server refuses the pods",
            "condition `ReplicaFailure` of a workload, events `FailedCreate`; pods are missing, or only "
            "the new ones of a rollout",
            "A ResourceQuota or LimitRange, Pod Security, an admission policy or webhook forbids what the "
            "workload asks for; a webhook does not answer; the ServiceAccount, PriorityClass or "
            "RuntimeClass does not exist; or the namespace is being deleted.",
            "The message says which of them: raise the quota, get the webhook's service to run, create "
            "what is missing, or change the policy for this namespace.",
        ),
        "scheduling-gated": Code(
            "a gate holds the pod before it is scheduled",
            "condition `PodScheduled` False with `SchedulingGated`; `spec.schedulingGates`",
            "Somebody else decides when the pod may be scheduled: Kueue's `kueue.x-k8s.io/admission` "
            "waits for room in a queue. Nodes and GPUs are not the matter.",
            "See the queue: `kubectl get workloads.kueue.x-k8s.io`. Who set the gate takes it away.",
        ),
        "pod-thrown-out": Code(
            "its pod was thrown out",
            "events `TaintManagerEviction`, `Preempted`, `Evicted`; condition `DisruptionTarget`",
            "A NoExecute taint of the node that the pod does not tolerate, a pod of higher priority, a "
            "drain, or a node that ran short of something has ended the pod that served, and no other has "
            "its place yet.",
            "See who did it. A taint belongs to who set it: wait until it is gone, or take another node. "
            "A higher PriorityClass protects from preemption.",
        ),
        "node-lost": Code(
            "the node is not heard of any more",
            "the node is NotReady or `Unknown`; pods on it stay `Terminating` or `Unknown`",
            "Its machine is off, unreachable, or its kubelet has died. Kubernetes takes its pods out of "
            "every Service and cannot end them, so that a StatefulSet makes no other.",
            "See whether the machine runs. Its pods are replaced when it is back, or when its Node is "
            "gone; a node provisioner removes that with the machine.",
        ),
        "unschedulable": Code(
            "no node takes the pod",
            "the pod is Pending, event `FailedScheduling`",
            "The scheduler counts for each reason how many nodes it rules out. CPU, memory or labels that"
            " no node has are the usual ones.",
            "`kaitoctl check-nodes` says for each node why not; `kaitoctl nodes` shows who holds the GPUs.",
        ),
        "volume-claim-missing": Code(
            "a PersistentVolumeClaim does not exist, or is not bound",
            '`persistentvolumeclaim "..." not found`, `unbound immediate PersistentVolumeClaims`',
            "The pod uses a volume by a claim that the namespace does not have, or that no storage class "
            "has filled.",
            "Create the claim, or see with `kubectl describe pvc` why it is not bound.",
        ),
        "volume-not-here": Code(
            "no node can have both the pod and its volume",
            "event `FailedScheduling` with `volume node affinity conflict`, `didn't match "
            "PersistentVolume's node affinity`, `no available volume zone`, `exceed max volume count`, "
            "`ReadWriteOncePod`",
            "The volume lives in another zone or on another node than the GPUs, is in use by a pod that "
            "shares it with nobody, or the node has as many disks as it can have.",
            "See where the volume is (`kubectl get pvc -o wide`, `kubectl describe pv`): take a node "
            "there, or a volume that every zone reaches.",
        ),
        "volume-unavailable": Code(
            "a volume cannot be attached or mounted",
            "events `FailedAttachVolume` (`Multi-Attach error`), `FailedMount`, `FailedMapVolume`; the "
            "pod stays at `ContainerCreating`",
            "A disk is attached to another node still, its CSI driver does not run on this one, the "
            "storage refuses or does not answer, or a path of the host does not exist.",
            "Read the event. A disk of access mode ReadWriteOnce is free when the pod that holds it has "
            "ended and its node has let go; ReadWriteMany can be on several nodes.",
        ),
        "pod-sandbox-failed": Code(
            "the node cannot make the pod's sandbox",
            "event `FailedCreatePodSandBox`, `NetworkNotReady`; the pod stays at `ContainerCreating`",
            "Before any container the node sets up the pod's network and runtime class: the nvidia "
            "runtime is not configured there, the network has no address left, or its plugin is not ready.",
            'Read the event. `no runtime for "nvidia"`: see the GPU '
            "operator's container toolkit on the node; `failed to assign an IP address`: enlarge the "
            "subnet.",
        ),
        "config-map-missing": Code(
            "a ConfigMap does not exist",
            '`CreateContainerConfigError` or event `FailedMount` with `configmap "..." not found`',
            "The Workspace (inference.config, tuning.config) or its pod template names a ConfigMap that "
            "this namespace does not have. ConfigMaps of other namespaces do not count.",
            "Create it in the Workspace's namespace; the pod goes on by itself.",
        ),
        "secret-missing": Code(
            "a Secret does not exist",
            '`CreateContainerConfigError` or event `FailedMount` with `secret "..." not found`',
            "The Workspace (modelAccessSecret, imagePushSecret) or its pod template names a Secret that "
            "this namespace does not have.",
            "Create it in the Workspace's namespace; the pod goes on by itself.",
        ),
        "key-missing": Code(
            "a ConfigMap or Secret lacks a key",
            "`CreateContainerConfigError` with `couldn't find key`",
            "The object exists, without the entry that the container asks for.",
            "Add the key; KAITO reads `inference_config.yaml`, `training_config.yaml` and `HF_TOKEN`.",
        ),
        "image-not-found": Code(
            "the image does not exist",
            "`ErrImagePull`, `ImagePullBackOff` with `not found` or `manifest unknown`",
            "The registry answered, and has no such repository or tag. Some registries say the same of "
            "what the caller may not see.",
            "Correct name and tag (`inference.preset.presetOptions.image`, `adapters[].source.image`), or"
            " push the image.",
        ),
        "image-unauthorized": Code(
            "the registry does not let the node pull the image",
            "`ErrImagePull`, `ImagePullBackOff` with `401 Unauthorized`, `403 Forbidden` or `denied`",
            "The image is private, and the pod has no pull secret for it, or one with stale or foreign "
            "credentials. KAITO v0.3 ignores the adapters' pull secrets when the preset's image is "
            "private.",
            "Create a pull secret of type docker-registry and name it in presetOptions.imagePullSecrets "
            "or in the adapter's source.imagePullSecrets.",
        ),
        "pull-secret-missing": Code(
            "the pull secret does not exist",
            "`ErrImagePull` with 401 or 403, event `FailedToRetrieveImagePullSecret`",
            "The pod names an image pull secret that its namespace does not have. The kubelet then pulls "
            "without credentials, so that the error speaks of the registry and not of the secret.",
            "Create the secret in the Workspace's namespace.",
        ),
        "image-name-invalid": Code(
            "the image's name cannot be read",
            "`InvalidImageName`",
            "The reference breaks the grammar of image names: capitals, blanks, a scheme such as https://.",
            "Write it as REGISTRY/REPOSITORY:TAG.",
        ),
        "registry-unreachable": Code(
            "the registry cannot be reached from the node",
            "`ErrImagePull` with `i/o timeout`, `no such host`, `x509` or `too many requests`",
            "Name resolution, network, proxy or certificates stand between the node and the registry, or "
            "the registry limits anonymous pulls.",
            "Try the registry from the node; mirror the image in a registry near the cluster.",
        ),
        "image-pull-failed": Code(
            "the image cannot be pulled",
            "`ErrImagePull`, `ImagePullBackOff`",
            "The container runtime gives a reason that is none of the usual ones; a full disk is one.",
            "Read the message.",
        ),
        "image-pull-slow": Code(
            "the node has been pulling an image for long",
            "event `Pulling` without `Pulled`; the pod stays at `ContainerCreating`",
            "Model images have tens of gigabytes. A far registry, a slow disk or a limited network make "
            "minutes to hours of that; nothing has failed yet.",
            "See the network and the disk of the node; mirror the image in a registry near the cluster.",
        ),
        "image-wrong-platform": Code(
            "the image is for another kind of machine",
            "`ErrImagePull` with `no match for platform in manifest`; log or message `exec format error`",
            "The image exists, and only for another CPU architecture or operating system than the node's: "
            "often one that was built on an Apple laptop, for arm64.",
            "Build it for linux/amd64 (`docker build --platform linux/amd64`), push it, and name it again.",
        ),
        "adapter-image-bad": Code(
            "an adapter's image cannot be pulled",
            "the pod stays at `Init:ErrImagePull` or `Init:ImagePullBackOff`",
            "Each adapter is an image whose files an init container copies. Its reference leads to "
            "nothing; the model is not even started.",
            "Correct `inference.adapters[].source.image`, or take the adapter out.",
        ),
        "adapter-empty": Code(
            "an adapter's image has no files in /data",
            "the pod stays at `Init:Error` or `Init:CrashLoopBackOff`; log `no files in /data`, `can't "
            "stat '/data/*'`",
            "The init container copies /data of the adapter's image. An image of another layout has "
            "nothing there.",
            "Build the adapter's image with adapter_config.json and the weights in /data.",
        ),
        "adapter-without-shell": Code(
            "an adapter's image cannot copy its files",
            "the pod stays at `Init:RunContainerError` or `Init:CrashLoopBackOff` with exit code 126 or 127",
            "The init container runs sh, mkdir and cp of the adapter's own image. An image made from "
            "scratch has none of them.",
            "Build the adapter's image on one that has them, such as busybox.",
        ),
        "adapter-misfit": Code(
            "the model server cannot load an adapter",
            "log `size mismatch for`, `Target modules ... not found in the base model`, `Can't find "
            "'adapter_config.json'`; then CrashLoopBackOff",
            "The adapter's files were copied, and the model does not take them: they were made from another "
            "model, lack adapter_config.json, or have another rank than the adapter they are merged with.",
            "Take the adapter out (`kaitoctl remove-adapter`), or give it an image that was made from this "
            "very model (`kaitoctl set-adapter`).",
        ),
        "container-cannot-start": Code(
            "a container cannot be started",
            "`CreateContainerConfigError`, `CreateContainerError`, `RunContainerError`, `StartError` "
            "(exit code 128), hooks that fail",
            "The container runtime has the image and cannot start a process of it: a command that the "
            "image does not have, a mount that fails, an image that runs as root where that is forbidden, a "
            "driver of the node that does not match its libraries.",
            "Read the message; `kubectl describe pod` has it whole.",
        ),
        "out-of-memory": Code(
            "the kernel killed the process: main memory",
            "`OOMKilled`, exit code 137",
            "The container used more main memory than its limit or the node has. Weights pass through "
            "main memory while they load, also when they end up on the GPU.",
            "Take a node with more memory, or raise the limit in a pod template.",
        ),
        "cuda-out-of-memory": Code(
            "the GPU's memory does not suffice",
            "log `CUDA out of memory`, `No available memory for the cache blocks`; then CrashLoopBackOff",
            "The model, its context and its batch do not fit the GPU memory of the pod, or another "
            "process uses the same GPU. Restarts do not help.",
            "Take an instance type with more GPU memory (`kaitoctl fit PRESET`), a smaller max-model-len "
            "(vLLM), or a smaller model.",
        ),
        "model-access-denied": Code(
            "the model's weights may not be downloaded",
            "log `401 Client Error`, `gated repo`, `Access to model ... is restricted`",
            "KAITO v0.12 downloads weights from Hugging Face at start. The model wants its licence "
            "accepted and a token, which is missing or belongs to an account without access.",
            "Accept the licence on huggingface.co, put the token under HF_TOKEN in a Secret and name it "
            "in presetOptions.modelAccessSecret.",
        ),
        "disk-full": Code(
            "the disk is full",
            "log `No space left on device`, event `Evicted`, `DiskPressure`",
            "Image and weights do not fit the node's disk. KAITO v0.3 asks for a disk of 400 bytes for "
            "falcon-40b, so that nodes get their default one.",
            "Take nodes with a larger disk.",
        ),
        "crash-loop": Code(
            "a container ends with an error again and again",
            "`Error`, `CrashLoopBackOff`",
            "The process starts and ends with a non-zero exit code. 126 and 127: the command cannot be "
            "run. 134 and 139: it crashed. 137: it was killed. Anything else is the program's own.",
            "Read its log: `kaitoctl logs WORKSPACE --previous`.",
        ),
        "container-killed": Code(
            "a container was killed, and not by a probe",
            "exit code 137 or 143 without `OOMKilled` and without events of a probe; "
            "`ContainerStatusUnknown`",
            "Somebody sent SIGKILL or SIGTERM: the kernel to a child process when memory was short, a "
            "node that shut down, a person. Kubernetes saw no reason.",
            "See the node's kernel log and its conditions, and the container's last lines.",
        ),
        "probe-kills-server": Code(
            "a probe kills a server that had served",
            "events `Unhealthy` and `Killing` of the liveness probe, after much more time than loading takes",
            "The server had loaded and answered, and stopped answering: its GPU was lost, it hangs, or it "
            "is overloaded. More time to start changes nothing.",
            "See its last lines (`kaitoctl logs WORKSPACE --previous`) and the node's kernel log for Xid "
            "errors.",
        ),
        "probe-kills-slow-start": Code(
            "a probe kills the server while it loads",
            "exit code 137 or 143, events `Unhealthy` and `Killing`; restarts at regular intervals",
            "Loading takes longer than the startup or liveness probe allows, so that the kubelet restarts"
            " the container and loading begins again. KAITO v0.3 and v0.4 have no startup probe and allow"
            " 10 minutes.",
            "In a pod template: a startupProbe with failureThreshold times periodSeconds above the "
            "loading time. With presets: faster disks, or a registry and weights nearer by.",
        ),
        "slow-start": Code(
            "loading takes longer than the preset's budget",
            "the container runs, and the pod is not ready",
            "The server has not answered its readiness probe within the preset's time limit. KAITO v0.3 "
            "and v0.4 give up at that limit.",
            "`kaitoctl logs WORKSPACE` shows whether it still moves.",
        ),
        "pod-evicted": Code(
            "the node evicted the pod",
            "phase Failed, reason `Evicted`",
            "The node ran out of disk, memory or process ids and made room.",
            "See the node's pressure conditions; take nodes with more disk or memory.",
        ),
        "pod-rejected": Code(
            "the kubelet rejects the pod",
            "pods in phase Failed with `UnexpectedAdmissionError`, `OutOfcpu`, `OutOfnvidia.com/gpu`, "
            "`NodeAffinity`, `NodePorts`, `TopologyAffinityError`, `NodeShutdown` and others",
            "The scheduler gave the pod to a node whose own kubelet does not take it: what it knows of "
            "its GPUs is stale, its labels have changed since, it shuts down. The workload creates pod "
            "after pod.",
            "Read the message. For GPUs see the device plugin's pod on that node, and restart it.",
        ),
        "pod-ended": Code(
            "the node has ended the pod",
            "pods in phase Failed with `Terminated`, `Shutdown`, `Preempting` or `DeadlineExceeded`",
            "The node shut down or made room for a critical pod, or the pod had reached its "
            "activeDeadlineSeconds.",
            "See the node. A workload creates the pod again where there is room.",
        ),
        "tuning-failed": Code(
            "the tuning job failed",
            "condition `JobStarted` with `WorkspaceTuningJobStatusFailed`",
            "A container of the job's pod ended with an error, or the job met its limit. It is not run "
            "again by itself.",
            "`kaitoctl logs WORKSPACE --previous`; fix the cause, then change the Workspace or delete "
            "the Job.",
        ),
        "progress-deadline": Code(
            "Kubernetes has given the rollout up",
            "condition `Progressing` False, `ProgressDeadlineExceeded`",
            "The Deployment made no progress for progressDeadlineSeconds. KAITO v0.3 and v0.4 leave that "
            "at 600 s, shorter than their own limit of 30 minutes, and then report a failure.",
            "What keeps the pods from becoming ready stands below. The rollout goes on all the same.",
        ),
        "no-endpoints": Code(
            "pods are ready, and the Service does not reach them",
            "the Service is missing, its selector fits no ready pod, or it has no ready endpoints",
            "It was deleted, or its selector was edited: KAITO v0.3 and v0.4 do not watch Services and "
            "make none for pod templates (v0.3).",
            "Give the Service the labels of the pods again (`kubectl set selector service`). One that is "
            "missing is made when the controller next looks at the Workspace.",
        ),
        "service-misdirected": Code(
            "the Service leads to where nobody listens",
            "the Service's `targetPort` is none of the server's ports, its protocol is not TCP, it is of "
            "type ExternalName, or headless",
            "Pods are ready and chosen, and the port that prompts go to leads past the server. KAITO does "
            "not set an edited Service right.",
            "Lead the port to the one where the server listens (5000 for presets): `kubectl patch service`.",
        ),
        "nobody-served": Code(
            "its controller calls it ready, and nobody is served",
            "conditions say ready; no pod is",
            "Conditions are what the controller saw last. Since then the pods have stopped being ready, "
            "for a reason that was not found.",
            "See the pods, their events and their logs.",
        ),
        "kubernetes-says": Code(
            "Kubernetes gives a reason that kaitoctl has no advice for",
            "a reason or a warning that is in none of its tables",
            "The reason is shown with Kubernetes' own message; nothing else was found that would explain it.",
            "Read the message; `kubectl describe` shows what came before it.",
        ),
    }
)
"""By code, in the order in which a rollout meets them."""
