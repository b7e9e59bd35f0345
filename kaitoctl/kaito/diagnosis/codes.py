"""What each cause of `kaitoctl why` means and how to fix it.

`kaitoctl explain` and docs/troubleshooting.md print this table. Codes are stable: scripts and documents may
rely on them. What is wrong with a node has the codes of `kaito.node_check`, in both commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct


class Code(Struct, frozen=True):
    """A kind of cause.

    Args:
        title: a few words.
        shows: how it shows itself, in what `kubectl` or KAITO's conditions say.
        meaning: what is so, and how it comes about.
        fix: what to do.
    """

    title: str
    shows: str
    meaning: str
    fix: str


CODES: Mapping[str, Code] = MappingProxyType(
    {
        # --- the cluster and the Workspace itself
        "crd-missing": Code(
            "the CRD of Workspaces is not installed",
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
            "`kaitoctl why` on the Workspaces that it names. The controller continues by itself when one of "
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
        "benchmark-failed": Code(
            "the model serves, but KAITO's benchmark failed",
            "`WorkspaceSucceeded` False, reason `BenchmarkFailed`, beside `InferenceReady` True",
            "KAITO v0.12 measures a vLLM model once while it starts, and reads the result from the last "
            "500 lines of the first pod's log. Where it finds none, or a failed one, the Workspace is "
            "never called ready, though the model answers.",
            "Annotate the Workspace with `kaito.sh/disable-benchmark=true`: KAITO then calls it ready, and "
            "no pod restarts. It is measured again when its first pod is deleted, and does not serve "
            "meanwhile.",
        ),
        "model-mirror-waits": Code(
            "the model's weights are not on their volume yet",
            "`ModelMirrorReady` False; the ModelMirror's conditions `StorageReady` and `Ready`",
            "With the gate ModelStreaming KAITO v0.12 makes no pod before a Job has downloaded the model to "
            "the volume of its ModelMirror. The Workspace says that the download is in progress, also where "
            "the volume never comes or the Job's pod finds no place.",
            "Fix the claim, the Job or its pod. KAITO tries a failed download again every five minutes. A "
            "Workspace that is created with the annotation `kaito.sh/model-streaming: disabled` needs none.",
        ),
        "generation-not-observed": Code(
            "the last change has not been observed",
            "conditions have an `observedGeneration` smaller than `metadata.generation`",
            "The controller has stopped since, or is still busy: KAITO v0.3 and v0.4 wait inside one "
            "pass, up to 30 minutes, and neither changes nor deletions get through meanwhile.",
            "Check that the controller runs. With those versions the pass ends by itself at the preset's "
            "time limit.",
        ),
        "finalizer-holds-deletion": Code(
            "a finalizer blocks the deletion",
            "`deletionTimestamp` is set, and the object stays",
            "Kubernetes removes an object when its last finalizer is gone. KAITO removes its own once it "
            "has asked for the deletion of its nodes; one of somebody else, a stopped controller, or a "
            "NodeClaim that cannot be drained keeps the object for ever.",
            "Start the controller that owns the finalizer. Remove a finalizer by hand only when what it "
            "guards is gone: a machine left behind costs money.",
        ),
        "node-claim-kind-missing": Code(
            "the cluster does not have NodeClaims, and KAITO asks for them",
            "`deletionTimestamp` is set, KAITO's finalizer stays, and KAITO logs `no matches for kind "
            "NodeClaim`",
            "Before KAITO takes its finalizer off, it lists the NodeClaims of the Workspace. Without the "
            "CRD nodeclaims.karpenter.sh (nodes were prepared by hand, or Karpenter was removed) that "
            "fails, again and again.",
            "Install the CRD; KAITO then continues by itself. Or check that no machine of the Workspace is "
            "left, and remove the finalizer by hand.",
        ),
        "node-claim-stuck": Code(
            "a NodeClaim stays although its node is gone",
            "a NodeClaim with `deletionTimestamp`, whose node does not exist",
            "The node provisioner takes its finalizer off when the cloud confirms that the machine is "
            "gone. It does not run, lacks the rights to ask, or the machine was deleted behind its back.",
            "Check the provisioner and its log. Take the finalizer off only when the machine is gone at the "
            "cloud: one left behind costs money.",
        ),
        "drain-blocked": Code(
            "a node cannot be emptied",
            "event `FailedDraining`, condition `Drained` or `VolumesDetached` Unknown of a NodeClaim that "
            "is being deleted",
            "A node is removed when its pods have ended and their volumes are detached. A "
            "PodDisruptionBudget forbids an eviction, a pod does not end, or the node no longer answers.",
            "Let the budget allow a disruption, or ask the pod's owner to end it. With "
            "spec.terminationGracePeriod of the NodeClaim, Karpenter ends pods in spite of budgets after "
            "that time.",
        ),
        "dependents-hold-deletion": Code(
            "Kubernetes deletes what depends on the Workspace first",
            "`deletionTimestamp` is set, with the finalizer `foregroundDeletion`",
            "The Workspace was deleted in the foreground (`--cascade=foreground`, Argo CD): "
            "it stays until all that it owns is gone. A finalizer on one of these, or a pod on a node that "
            "no longer answers, keeps it.",
            "Check what is listed: the node of a pod that does not end, and finalizers other than "
            "`foregroundDeletion`, which Kubernetes takes off itself.",
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
            "a NodeClaim or Machine with `Launched` False or Unknown, a message with `quota`; the Workspace "
            "waits for nodes",
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
            "a NodeClaim or Machine with `Launched` False, or Unknown with a reason",
            "The node provisioner tried to start a machine, and the cloud refused for another reason than"
            " quota or capacity: permissions, a missing node class, a network without room.",
            "Read the message; `kubectl describe nodeclaim` and the provisioner's log have more.",
        ),
        "node-class-not-ready": Code(
            "the node class does not let machines be launched",
            "condition `Launched` of a NodeClaim with `NodeClassReadinessUnknown`, condition "
            "`NodeClassReady` False of a NodePool",
            "A NodeClaim names an AKSNodeClass or EC2NodeClass, which says from what image, network and "
            "identity a machine is made. It is missing, being deleted, or names something that the cloud "
            "does not have.",
            "Read the conditions of the node class (`kubectl describe aksnodeclass`, `ec2nodeclass`) and "
            "correct it.",
        ),
        "node-claim-pending": Code(
            "a node is on its way",
            "a NodeClaim without `Registered`, or without any condition",
            "A machine was asked for and has not joined the cluster. That takes minutes. Without any "
            "condition nobody has acted on the claim: no node provisioner runs. Launched and never "
            "registered means that the machine cannot reach the API server, or that its start-up failed.",
            "Wait some minutes. Then look at the provisioner (Karpenter, gpu-provisioner) and its log.",
        ),
        "node-not-initialized": Code(
            "a node has joined and is not initialized",
            "a NodeClaim with `Registered` True and `Initialized` not True: `StartupTaintsExist`, "
            "`NodeNotReady`, `ResourceNotRegistered`",
            "Karpenter calls a node ready for work when the kubelet is ready, its startup taints are gone "
            "and all that was asked for is offered. Agents on the node (network plugin, storage, device "
            "plugins) do that, each for its part.",
            "Check why the agent that is named does not run on the node. Do not take its taint off by hand: "
            "pods would come before what they need.",
        ),
        "node-claim-terminating": Code(
            "a node is being removed",
            "a NodeClaim with `deletionTimestamp`, of a Workspace that stays; condition `DisruptionReason` "
            "or `Drifted`",
            "Karpenter replaces a node that has drifted from its node class, is empty or too old; somebody "
            "may have deleted it, too. The Workspace waits for the next one.",
            "Wait for its successor. `kubectl describe nodeclaim` says why it goes.",
        ),
        "node-claim-inconsistent": Code(
            "a node is not what was promised",
            "condition `ConsistentStateFound` False of a NodeClaim, events `FailedConsistencyCheck`",
            "The machine has less of a resource than its type should have: a GPU has failed, or a device "
            "plugin hides some.",
            "Check the node's GPUs; replace the machine if one is broken.",
        ),
        "node-pool-limit": Code(
            "the limits of the node pool are reached",
            "event `FailedScheduling` of Karpenter with `exceed limits for nodepool`",
            "A NodePool may create nodes up to spec.limits, all its nodes together.",
            "Raise spec.limits of the NodePool, or give nodes of it back.",
        ),
        "no-node-provisioner": Code(
            "nobody can create nodes here",
            "condition `ResourceReady` with reason `NodesMissing`, or `NodesAwaited` (byo); KAITO's byo, and "
            "no node of the selector",
            "There are too few fitting nodes, and the cluster has no NodeClaim or NodePool API to ask for "
            "new ones, or the controller runs with --node-provisioner byo and asks for none.",
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
            "Check whether the plugin's pod runs on the node; install the device plugin or the GPU operator.",
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
            "it is scaled to 0",
            "the Deployment or StatefulSet has `spec.replicas: 0`; conditions may say ready all the same",
            "There are no pods, so nothing serves. KAITO v0.3 and v0.4 neither set replicas back nor "
            "take their condition away. `managedFields` says who wrote it: kubectl, an autoscaler such as "
            "KEDA, a tool that saves costs at night.",
            "Scale it up: `kubectl scale deployment NAME --replicas=1`. Where an autoscaler did it, see "
            "its rules first.",
        ),
        "workload-paused": Code(
            "the rollout is paused",
            "a Deployment with `spec.paused`, a StatefulSet with a partition or `OnDelete`, or whose older "
            "pod is not Ready, a Job with `spec.suspend`",
            "Kubernetes makes no new pods of a paused Deployment or a suspended Job, and leaves older "
            "pods of a StatefulSet below its partition as they are. A StatefulSet that is not `Parallel` "
            "waits for a broken pod of the older revision for ever. Kueue suspends jobs until their queue "
            "admits them.",
            "`kubectl rollout resume deployment NAME`; delete the broken pod; for a Job see its queue.",
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
            "Check the queue: `kubectl get workloads.kueue.x-k8s.io`. Who set the gate takes it away.",
        ),
        "pod-thrown-out": Code(
            "its pod was evicted or preempted",
            "events `TaintManagerEviction`, `Preempted`, `Evicted`; condition `DisruptionTarget`",
            "A NoExecute taint of the node that the pod does not tolerate, a pod of higher priority, a "
            "drain, or a node that ran short of something has ended the pod that served, and no other has "
            "its place yet.",
            "Check who did it. A taint belongs to who set it: wait until it is gone, or take another node. "
            "A higher PriorityClass protects from preemption.",
        ),
        "node-lost": Code(
            "the node is not heard of any more, or is gone",
            "the node is NotReady, `Unknown` or not there; pods on it stay `Terminating`, `Unknown` or even "
            "`Running`, or wait for another node while `status.workerNodes` still names it",
            "Its machine is off, unreachable, or its kubelet has died. Kubernetes takes its pods out of "
            "every Service and cannot end them, so that a StatefulSet makes no other. When the Node itself "
            "is gone, its pods are deleted within a minute.",
            "Check whether the machine runs. Its pods are replaced when it is back, or when its Node is "
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
        "volume-lost": Code(
            "the volume of a claim is gone",
            "claim `Lost`; `bound to non-existent persistentvolume`, `bound to non-existent pv(s)`",
            "The PersistentVolume that a claim of the pod is bound to was deleted, or the node that had it "
            "on its own disk is gone. Kubernetes binds such a claim to no other volume.",
            "If the disk is still at the storage, create the PersistentVolume again with its name and a "
            "claimRef of the claim. Else the files on it are lost: ask whose they are before you delete the "
            "claim, create it again and copy them onto it once more. No node and no zone helps.",
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
            'Read the event. `no runtime for "nvidia"`: check the GPU '
            "operator's container toolkit on the node; `failed to assign an IP address`: enlarge the "
            "subnet.",
        ),
        "config-map-missing": Code(
            "a ConfigMap does not exist",
            '`CreateContainerConfigError` or event `FailedMount` with `configmap "..." not found`',
            "The Workspace (inference.config, tuning.config) or its pod template names a ConfigMap that "
            "this namespace does not have. ConfigMaps of other namespaces do not count.",
            "Create it in the Workspace's namespace; the pod then starts by itself.",
        ),
        "secret-missing": Code(
            "a Secret does not exist",
            '`CreateContainerConfigError` or event `FailedMount` with `secret "..." not found`',
            "The Workspace (modelAccessSecret, imagePushSecret) or its pod template names a Secret that "
            "this namespace does not have.",
            "Create it in the Workspace's namespace; the pod then starts by itself.",
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
            "Check the network and the disk of the node; mirror the image in a registry near the cluster.",
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
            "'adapter_config.json'`, `LoRA rank ... is greater than max_lora_rank`, `SafetensorError`; then "
            "CrashLoopBackOff",
            "The adapter's files were copied, and the model does not take them: they were made from another "
            "model or with a newer PEFT, lack adapter_config.json, are broken (a git-lfs pointer in place of "
            "the weights), or have another rank than the server or the adapter they are merged with takes.",
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
            "`OOMKilled`, exit code 137; events `SystemOOM` or `OOMKilling` of its node",
            "The container used more main memory than its limit or the node has. Weights pass through "
            "main memory while they load, also when they end up on the GPU. Where the kernel kills only a "
            "process of the container, Kubernetes says `Error`, and the node's events tell of it.",
            "Take a node with more memory, or raise the limit in a pod template.",
        ),
        "cuda-out-of-memory": Code(
            "the GPU's memory does not suffice",
            "log `CUDA out of memory`, `No available memory for the cache blocks`, `the estimated maximum "
            "model length is ...`, `Free memory on device ... is less than desired`; then CrashLoopBackOff",
            "The model, its context and its batch do not fit the GPU memory of the pod, or another "
            "process uses the same GPU. Restarts do not help.",
            "Take an instance type with more GPU memory (`kaitoctl fit PRESET`), a smaller max-model-len "
            "(vLLM), or a smaller model.",
        ),
        "model-access-denied": Code(
            "the model's weights may not be downloaded",
            "log `401 Client Error`, `gated repo`, `Access to model ... is restricted`, `Unable to locate "
            "credentials`, `An error occurred (AccessDenied)`",
            "KAITO v0.12 downloads weights from Hugging Face at start. The model wants its licence "
            "accepted and a token, which is missing or belongs to an account without access. A custom pod "
            "may "
            "read its model from an object store, which asks for an identity of the pod.",
            "Accept the licence on huggingface.co, put the token under HF_TOKEN in a Secret and name it "
            "in presetOptions.modelAccessSecret. For an object store, give the pod's ServiceAccount the "
            "rights "
            "(workload identity), or the pod template a Secret.",
        ),
        "context-too-long": Code(
            "the context is longer than the model can have",
            "log `User-specified max_model_len (...) is greater than the derived max_model_len`",
            "max-model-len asks vLLM for more tokens than the model's config.json allows.",
            "Set max-model-len to at most that number, under vllm: in the inference_config.yaml of the "
            "ConfigMap that inference.config names.",
        ),
        "gpu-too-old": Code(
            "the GPU cannot do what the model asks of it",
            "log `Bfloat16 is only supported on GPUs with compute capability of at least 8.0`, `no kernel "
            "image is available for execution on the device`",
            "Number formats and programs belong to generations of GPUs: bfloat16 needs compute capability "
            "8.0 (A100, A10), FP8 8.9 (L4, H100); V100 has 7.0 and T4 7.5. An image may also lack programs "
            "for a GPU that is newer or older than those it is built for: vLLM in KAITO v0.4 to v0.10 begins "
            "with 7.0, since v0.11 with 7.5.",
            "Ask for another format (dtype: float16), take a model with another quantization, or take a "
            "newer GPU.",
        ),
        "gpu-driver-misfit": Code(
            "the GPU driver of the node does not fit the image",
            "log `The NVIDIA driver on your system is too old`, `CUDA driver version is insufficient for "
            "CUDA runtime version`, `Driver/library version mismatch`, `Error 803: system has unsupported "
            "display driver / cuda driver combination`",
            "The driver is the node's, CUDA is the image's, and a driver runs only images up to its own "
            "CUDA version. A driver that was updated without a reboot does not fit its own kernel module; "
            "neither does a libcuda that the image brings of its own (cuda-compat), or a stub.",
            "Update the driver (node image, GPU operator) and reboot the node, or use an image of an older "
            "CUDA.",
        ),
        "gpu-not-visible": Code(
            "the container sees no GPU",
            "log `Found no NVIDIA driver on your system`, `Failed to infer device type`, `No CUDA GPUs are "
            "available`, NVML errors",
            "The pod does not ask for nvidia.com/gpu, the node's driver is missing or broken, or the "
            "container was not started by the NVIDIA runtime.",
            "Check the pod's limits, the node's driver and device plugin; where the NVIDIA runtime is not "
            "the default, give the pod its RuntimeClass.",
        ),
        "gpu-broken": Code(
            "a GPU of the node does not work",
            "log `uncorrectable ECC error encountered`, `Xid`, `GPU is lost`, `system not yet initialized`",
            "The hardware or the driver reports an error from which a restart of the container does not "
            "recover. On machines with NVSwitch, the fabric manager may not run; where GPUs are shared by "
            "MPS, its control daemon.",
            "See nvidia-smi on the node; drain and reboot it. If the error comes back, replace the node.",
        ),
        "gpu-program-failed": Code(
            "a program on the GPU failed",
            "log `CUDA error: an illegal memory access was encountered`, `device-side assert triggered`, "
            "`unspecified launch failure`, `misaligned address`, `CUBLAS_STATUS_EXECUTION_FAILED`; Xid 31",
            "The GPU stopped what ran on it. Mostly the program is at fault: an index beyond a table (an "
            "adapter, a tokenizer or a context length that does not fit the model), or an error in a kernel "
            "of the image. A GPU that is about to break shows itself in the same words, with Xid errors "
            "beside them.",
            "Check the lines before it in the log, and the node's kernel log for Xid errors. Take away what "
            "was added last (adapter, arguments), try another version of the image, or another node.",
        ),
        "gpu-count-misfit": Code(
            "the server and the number of GPUs do not go together",
            "log `must be divisible by tensor parallel size`, `World size (...) is larger than the number "
            "of available GPUs`, `invalid device ordinal`",
            "The server divides the model among GPUs. The container sees fewer than that, the pods of the "
            "other nodes have not joined, the model cannot be divided so, or two of the GPUs are shares of "
            "one.",
            "Take an instance type with as many GPUs, or set another tensor-parallel-size.",
        ),
        "shared-memory-too-small": Code(
            "the container's shared memory is too small",
            "log `Error while creating shared memory segment /dev/shm/...`, `No space left on device: "
            "'/dev/shm/...'`, `Bus error`",
            "Several processes of one server hand data to each other in /dev/shm, of which a container has "
            "64 MiB unless the pod mounts more. KAITO mounts some into the pods of presets, and none into "
            "pod templates.",
            "Mount an emptyDir with `medium: Memory` at /dev/shm; what is in it counts as the container's "
            "memory.",
        ),
        "worker-died": Code(
            "a worker process of the server died",
            "log `Worker proc ... died unexpectedly`, `exitcode: -9`, `SIGKILL`, `RayActorError`, "
            "`EngineDeadError`",
            "The server runs a process for each GPU. One of them ended, and the server with it; or the "
            "server goes on, answers its probe with 503, and is never ready. Killed by signal 9 without a "
            "word of its own, it mostly was the kernel's choice when main memory ran out, which Kubernetes "
            "does not always report as OOMKilled.",
            "Take a node with more main memory, or raise the limit; check the other pods of the Workspace.",
        ),
        "gpus-disconnected": Code(
            "the parts of the server do not reach each other",
            "log `NCCL error`, `DistBackendError`, `Watchdog caught collective operation timeout`, "
            "`DistNetworkError`",
            "GPUs of one model talk to each other by NCCL, within a node and between nodes. A network "
            "policy, a wrong interface, a lost GPU or a dead worker breaks that.",
            "Check the other pods and nodes; set NCCL_DEBUG=INFO in the pod's environment, and "
            "NCCL_SOCKET_IFNAME where a pod has several interfaces.",
        ),
        "model-not-found": Code(
            "the hub does not have the model",
            "log `404 Client Error`, `Repository Not Found`, `is not a valid model identifier`, `Revision "
            "Not Found`",
            "The model's name or its revision is wrong, or the model is private and the token may not see "
            "it.",
            "Correct the name; a private model wants a Secret with HF_TOKEN in "
            "presetOptions.modelAccessSecret.",
        ),
        "hub-rate-limited": Code(
            "the hub limits the rate",
            "log `429 Client Error: Too Many Requests`",
            "Hugging Face counts requests by token, or by address for those without one. Everybody behind "
            "one address shares its count, and restarts of a pod add to it.",
            "Name a Secret with HF_TOKEN in presetOptions.modelAccessSecret, wait some minutes, or keep "
            "the weights on a volume.",
        ),
        "hub-unreachable": Code(
            "the hub cannot be reached",
            "log `couldn't connect to 'https://huggingface.co'`, `Temporary failure in name resolution`, "
            "`CERTIFICATE_VERIFY_FAILED`, `outgoing traffic has been disabled`",
            "The container downloads files at start, and name resolution, a firewall, a proxy, its "
            "certificate or the offline mode is in the way.",
            "Give the pod a way to the internet or to a mirror (HF_ENDPOINT), or use a preset whose image "
            "has the weights.",
        ),
        "path-not-writable": Code(
            "the server may not write where it has to",
            "log `Read-only file system`, `PermissionError: [Errno 13] Permission denied`",
            "The cache or another folder is on a file system that is read-only, or belongs to another user "
            "than the container runs as.",
            "Mount a writable volume and point HF_HOME to it, or set fsGroup or runAsUser in the pod "
            "template.",
        ),
        "model-files-broken": Code(
            "files of the model are missing or broken",
            "log `SafetensorError: Error while deserializing header`, `invalid load key, 'v'`, `Cannot "
            "find any model weights`",
            "A git-lfs pointer stands in place of the weights, a download or copy was cut off, or files of "
            "different models were mixed.",
            "Fetch the files again, all of one model and one revision, and check that the disk has room for "
            "them.",
        ),
        "model-unsupported": Code(
            "the server does not know this kind of model",
            "log `Model architectures [...] are not supported`, `Transformers does not recognize this "
            "architecture`, `trust_remote_code`",
            "The image's vLLM or transformers is older than the model, cannot do its quantization, lacks a "
            "chat template, or was not allowed to trust the model's own program code.",
            "Use an image with newer packages or another model. Set trust-remote-code only for authors "
            "that you trust.",
        ),
        "bad-arguments": Code(
            "the server was called wrongly",
            "log `error: unrecognized arguments`, `error: argument`; exit code 2",
            "The command of the pod template, or a key under vllm: in inference_config.yaml, is none that "
            "this version of the server knows.",
            "Correct it; the end of the log has the usage.",
        ),
        "port-in-use": Code(
            "the port is taken",
            "log `Address already in use`",
            "Something else in the pod, or on the node where the pod has the host's network, listens on "
            "the port that the server wants.",
            "Choose another port, or stop the other.",
        ),
        "image-broken": Code(
            "the image's programs do not fit each other",
            "log `ImportError`, `No module named`, `undefined symbol`, `version GLIBC_... not found`",
            "The image lacks a package, or has one that was built for another version of its neighbours.",
            "Use another image, or rebuild it with versions that belong together.",
        ),
        "process-limit": Code(
            "the server may not open more files, or start more threads",
            "log `Too many open files`, `can't start new thread`, `pthread_create failed`",
            "The container runtime limits how many files a process opens, the kubelet how many "
            "processes and threads a pod has (podPidsLimit). Libraries for arithmetic start a thread for "
            "each CPU of the node, however few of them the pod has.",
            "Set OMP_NUM_THREADS to the pod's CPUs; raise LimitNOFILE or podPidsLimit on the node.",
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
            "Check the node's events (`Rebooted`, `Shutdown`), its kernel log and its conditions, and the "
            "container's last lines.",
        ),
        "probe-kills-server": Code(
            "a probe kills a server that had served",
            "events `Unhealthy` and `Killing` of the liveness probe, after much more time than loading takes",
            "The server had loaded and answered, and stopped answering: its GPU was lost, it hangs, or it "
            "is overloaded. More time to start changes nothing.",
            "Check its last lines (`kaitoctl logs WORKSPACE --previous`) and the node's kernel log for Xid "
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
        "probe-misdirected": Code(
            "a probe asks for something that the server does not have",
            "events `Unhealthy`: `HTTP probe failed with statuscode: 404`, `server gave HTTP response to "
            "HTTPS client`, `strconv.Atoi: parsing`, `does not implement the grpc health protocol`, "
            "`executable file not found`, `connection refused` on another port than the log names",
            "The server is up, and its liveness, readiness or startup probe has another path, port, scheme "
            "or command than it. It never passes: a liveness or startup probe kills the server again and "
            "again, a readiness probe keeps it out of its Service. The evidence has the probe as the pod "
            "has it, and what the server says of its port.",
            "Correct that part of the probe in the pod template. With a preset the probes are the "
            "controller's: see who changed its workload, or whether the image is another release's.",
        ),
        "probe-times-out": Code(
            "a probe does not wait long enough for the answer",
            "events `Unhealthy`: `context deadline exceeded (Client.Timeout exceeded while awaiting "
            "headers)`, `i/o timeout`, `command timed out`, `health rpc did not complete within`, `no route "
            "to host`",
            "The server is asked and does not answer within timeoutSeconds of the probe, which is 1 s where "
            "it does not say: it is busy with loading or with a long request, its probe does real work, or "
            "a network policy drops what the kubelet sends.",
            "Raise timeoutSeconds of the probe. Where the server should answer at once, its log says what it "
            "does instead; where nothing arrives at all, it is the node's network plugin.",
        ),
        "slow-start": Code(
            "loading takes longer than the preset's budget",
            "the container runs, and the pod is not ready; events `Unhealthy` with `statuscode: 503`, `EOF` "
            "or `connection reset by peer`",
            "The server has not answered its readiness probe within the preset's time limit. KAITO v0.3 "
            "and v0.4 give up at that limit.",
            "`kaitoctl logs WORKSPACE` shows whether it still moves.",
        ),
        "pod-evicted": Code(
            "the node evicted the pod",
            "phase Failed, reason `Evicted`",
            "The node ran out of disk, memory or process ids and made room.",
            "Check the node's pressure conditions; take nodes with more disk or memory.",
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
            "Check the node. A workload creates the pod again where there is room.",
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
            "the Service is missing, its selector fits no ready pod, it is of an IP family that its pods do "
            "not have, or it has no ready endpoints",
            "It was deleted, or its selector was edited: KAITO v0.3 and v0.4 do not watch Services and "
            "make none for pod templates (v0.3).",
            "Give the Service the labels of the pods again (`kubectl set selector service`). One that is "
            "missing is made when the controller next looks at the Workspace.",
        ),
        "service-misdirected": Code(
            "the Service leads to a port where nothing listens, or has lost port 80",
            "the Service has no port 80, its `targetPort` is not one of the server's ports, its protocol is "
            "not TCP, it is of type ExternalName, or headless",
            "Pods are ready and chosen, and the port that prompts go to leads past the server. KAITO does "
            "not set an edited Service right.",
            "Give it port 80 again, or lead the port to the one where the server listens (5000 for presets): "
            "`kubectl patch service`.",
        ),
        "load-balancer-pending": Code(
            "the load balancer has no address",
            "a Service of type LoadBalancer without `status.loadBalancer.ingress`; events "
            "`SyncLoadBalancerFailed`, `FailedBuildModel`, `AllocationFailed`",
            "Something outside makes the load balancer: the cloud's controller, or MetalLB on machines of "
            "one's own. It is not there, or the cloud refuses: no address is left, a right or a subnet is "
            "missing. Within the cluster the model serves.",
            "The message says what to change. Meanwhile `kubectl port-forward`, which `kaitoctl endpoint "
            "WORKSPACE --type port-forward` prints, reaches the model from outside.",
        ),
        "foreign-endpoints": Code(
            "a pod of somebody else answers prompts",
            "an endpoint of the Service `NAME` that is no pod of the Workspace's Deployment or StatefulSet",
            "A Service sends requests to every ready pod with the labels that it selects. A copy made to "
            "debug, or another workload with the label `kaito.sh/workspace=NAME`, gets a share of them and "
            "answers with errors, or with another model.",
            "Take the label from that pod: `kubectl label pod POD kaito.sh/workspace-`. Where the selector "
            "of the Service was made wider, give it the labels of the Workspace's pods again.",
        ),
        "service-going": Code(
            "the Service is being deleted",
            "the Service `NAME` has a `deletionTimestamp`, and a finalizer keeps it",
            "Somebody has deleted the Service, and what is to be cleaned up first, mostly a cloud's load "
            "balancer, is not done. Until then it leads to the model, and no other of its name can be made.",
            "Check why its finalizer stays: the events of the Service, and its owner's log.",
        ),
        "nobody-served": Code(
            "its controller calls it ready, and it does not serve",
            "conditions say ready; no pod is",
            "Conditions are what the controller saw last. Since then the pods have stopped being ready: the "
            "server has too many requests to answer its probe in time, its engine has died, or another pod "
            "loads the model in its place.",
            "Where the server is overloaded, add replicas or give its probes more time (timeoutSeconds). A "
            "pod that loads is ready by itself. Otherwise check the pods, their events and their logs.",
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
