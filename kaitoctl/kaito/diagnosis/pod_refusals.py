"""Why an API server does not let a controller create pods: a table by the words of the refusal. Pure."""

from __future__ import annotations

from msgspec import Struct

from kaitoctl.advice import Command
from kaitoctl.kube import webhook_failures


class Refusal(Struct, frozen=True):
    """Why an API server does not let a controller create pods.

    Args:
        pattern: of its message.
        what: the same in words.
        hint: what to do.
        command: where to look; `{namespace}` is the pods', `{name}` what the message names.
        passes: whether it may pass by itself.
    """

    pattern: str
    what: str
    hint: str
    command: Command | None = None
    passes: bool = False


# Source of the messages: Kubernetes v1.37.2, plugin/pkg/admission (limitranger, serviceaccount, priority,
# runtimeclass, podnodeselector, podtolerationrestriction, imagepolicy, eventratelimit, antiaffinity, gc),
# staging/src/k8s.io/apiserver/pkg/admission/plugin (resourcequota, namespace/lifecycle, webhook, policy),
# staging/src/k8s.io/pod-security-admission, pkg/controller/statefulset; etcd 3.6 (api/v3rpc/rpctypes);
# OpenShift's SCC admission.
REFUSALS = (
    Refusal(  # of those that verify images: Sigstore's policy-controller, Kyverno, Ratify, Connaisseur
        r"(?s)admission webhook \"?(?P<name>[^\s\"]+)\"? denied the request.{0,2000}"
        r"(?:dial tcp|i/o timeout|TLS handshake timeout|no such host|x509: |status code 50\d)",
        "admission webhook {name} does not reach what it has to ask, a registry for example",
        "check its pods' way there (proxy, firewall, DNS): it does not object to the pods themselves",
        webhook_failures.LIST,
    ),
    Refusal(
        r"admission webhook \"?(?P<name>[^\s\"]+)\"? denied the request",
        "admission webhook {name} forbids the pods",
        "change what it objects to, or ask who owns its policy",
        webhook_failures.LIST,
    ),
    Refusal(
        r"status unknown for quota|Operation cannot be fulfilled on resourcequotas|"
        r"resource quota evaluation timed out|the object has been modified|failed to complete (?:validation|"
        r"mutation) in|limit reached on type|unable to return a response in the time allotted|"
        r"unable to handle the request|not yet ready to handle request|"
        r"no API token found for service account|error enforcing limit ranges",
        "the API server could not answer for the pods yet",
        "it is retried automatically; if it stays so, check the health of the API server and of "
        "kube-controller-manager",
        Command("kubectl get --raw /readyz"),
        passes=True,
    ),
    Refusal(
        r"insufficient quota to match these scopes: (?P<name>\S.{0,80})",
        "pods of this priority need a quota of their own in the namespace, and none has the scopes {name}",
        "ask whoever runs the cluster for a ResourceQuota with these scopes, or take priorityClassName out",
        Command("kubectl describe resourcequota -n {namespace}"),
    ),
    Refusal(
        r"must specify (?P<name>(?:limits|requests)\.[^\n]{1,120})",
        "a quota of the namespace takes only pods that say {name}",
        "say so in the pod template's resources, or ask for a LimitRange that fills it in",
        Command("kubectl describe resourcequota,limitrange -n {namespace}"),
    ),
    Refusal(
        r"exceeded quota: (?P<name>[^\s,]+)|failed quota: (?P<name2>[^\s:,]+)|quota usage is negative",
        "the quota of the namespace is used up",
        "raise the quota, or free what this namespace does not need",
        Command("kubectl describe resourcequota -n {namespace}"),
    ),
    Refusal(
        r"etcdserver: request is too large|Request entity too large|must be no more than \d+ bytes in total",
        "the pods are too large to be stored",
        "shorten what the pod template carries (environment, annotations, arguments)",
    ),
    Refusal(
        r"database space exceeded",
        "the cluster's database (etcd) is full: nothing new can be created anywhere",
        "whoever runs the cluster has to compact and defragment etcd, and clear its alarm",
        Command("kubectl get --raw /readyz?verbose"),
    ),
    Refusal(
        r"pods \"(?P<name>[^\"]+)\" already exists",
        "another pod has the name {name}, which the StatefulSet needs",
        "check whose it is: a StatefulSet does not take over a pod of another owner",
        Command("kubectl get pod {name} -n {namespace} -o yaml"),
    ),
    Refusal(
        r"(maximum|minimum) \S+ usage per (Container|Pod)\b|limit to request ratio per (Container|Pod)",
        "a LimitRange of the namespace forbids what the pods ask for",
        "change the LimitRange, or the resources of the pod template",
        Command("kubectl describe limitrange -n {namespace}"),
    ),
    Refusal(
        r"(?:maximum|minimum) \S+ usage per PersistentVolumeClaim",
        "a LimitRange of the namespace allows no claim of that size",
        "change the LimitRange, or the size that is asked for",
        Command("kubectl describe limitrange -n {namespace}"),
    ),
    Refusal(
        r"(?i)error looking up service ?account \S*?/?(?P<name>[^/\s:]+):|serviceaccounts? "
        r"\"(?P<name2>[^\"]+)\" not found",
        "ServiceAccount {name} does not exist in this namespace",
        "create it, with the rights that its pods need",
        Command("kubectl create serviceaccount {name} -n {namespace}"),
    ),
    Refusal(
        r"service account (?P<name>\S+) does not reference that (?:secret|imagePullSecret)",
        "ServiceAccount {name} admits only the Secrets that it lists (enforce-mountable-secrets)",
        "list the Secret in the ServiceAccount (secrets, imagePullSecrets), or use another ServiceAccount",
        Command("kubectl get serviceaccount {name} -n {namespace} -o yaml"),
    ),
    Refusal(
        r"no PriorityClass with name (?P<name>\S+) was found|priorityclass\S* "
        r"\"(?P<name2>[^\"]+)\" not found",
        "PriorityClass {name} does not exist",
        "create the PriorityClass, or take its name out of the pod template",
        Command("kubectl get priorityclasses"),
    ),
    Refusal(
        # Source: plugin/pkg/admission/priority; resourcequota's limitedResources by default.
        r"pods? with (?P<name>system-(?:cluster|node)-critical) priorityClass is not permitted in",
        "Kubernetes keeps PriorityClass {name} for its own namespaces",
        "take another priorityClassName into the pod template; whoever runs the cluster may allow it by a "
        "ResourceQuota of that class",
        Command("kubectl get priorityclasses"),
    ),
    Refusal(
        r"must not be provided in pod spec; priority admission",
        "the pod template names a priority beside its PriorityClass, and the two differ",
        "take priority and preemptionPolicy out of the pod template: its PriorityClass sets them",
        Command("kubectl get priorityclasses"),
    ),
    Refusal(
        r"defined Overhead|[Rr]untimeClass\b.{0,80}conflict|conflict: .{0,60}[Rr]untimeClass",
        "the pod template conflicts with its RuntimeClass (overhead, nodeSelector)",
        "take overhead and the conflicting nodeSelector out of the pod template",
        Command("kubectl get runtimeclasses -o yaml"),
    ),
    Refusal(
        r"RuntimeClass \"(?P<name>[^\"]+)\" not found",
        "RuntimeClass {name} does not exist",
        "create it (the GPU operator does), or take its name out of the pod template",
        Command("kubectl get runtimeclasses"),
    ),
    Refusal(
        r"(?i)because it is being terminated|namespace \S+ is being terminated|NamespaceTerminating|"
        r"namespaces? \"[^\"]+\" (?:was )?not found",
        "the namespace is being deleted or is gone, so nothing new can be created in it",
        "create the Workspace in another namespace",
        Command("kubectl get namespace {namespace} -o yaml"),
    ),
    Refusal(
        r"violates PodSecurity \"?(?P<name>[^\"\s]+)",
        "Pod Security level {name} of the namespace forbids the pods",
        "bring the pod template in line, or ask who owns the namespace for another level",
        Command("kubectl get namespace {namespace} --show-labels"),
    ),
    Refusal(  # apiserver pkg/admission/plugin/policy/{generic,validating}
        r"ValidatingAdmissionPolicy '(?P<name>[^\s']+)' with binding .{1,200} denied request: "
        r"(?:failed to configure (?:binding|policy)|no params found|.{0,300}resulted in error|"
        r"compilation error)",
        "ValidatingAdmissionPolicy {name} cannot judge the pods, and refuses what it cannot judge",
        "whoever owns it has to correct it (its expression, or the object that paramRef names)",
        Command("kubectl describe validatingadmissionpolicies,validatingadmissionpolicybindings"),
    ),
    Refusal(
        r"ValidatingAdmissionPolicy '(?P<name>[^\s']+)' with binding .* denied request",
        "ValidatingAdmissionPolicy {name} forbids the pods",
        "change what it objects to, or ask who owns the policy",
        Command("kubectl describe validatingadmissionpolicies"),
    ),
    Refusal(
        r"policy '(?P<name>[^\s']+)' with binding \S+ denied request",
        "MutatingAdmissionPolicy {name} forbids the pods",
        "check what it could not change, or ask who owns the policy",
        Command("kubectl describe mutatingadmissionpolicies"),
    ),
    Refusal(
        r"(?i)image policy webhook",
        "the image policy of the cluster forbids the image, or does not answer",
        "name an image that the policy admits, or ask who owns it",
    ),
    Refusal(
        r"(?i)namespace( default)? tolerations|namespace node label selector|its namespace whitelist|"
        r"node label selectors conflict|RequiredDuringScheduling has TopologyKey",
        "the namespace prescribes other tolerations or nodes than the pods have",
        "bring the pod template in line, or ask who owns the namespace",
        Command("kubectl get namespace {namespace} -o yaml"),
    ),
    Refusal(
        r"(?i)unable to validate against any pod ?security ?policy|pod ?security ?polic(y|ies)",
        "no PodSecurityPolicy that the pods' ServiceAccount may use lets them run",
        "grant its ServiceAccount `use` of a policy that does; Kubernetes 1.25 and later have none",
        Command("kubectl get podsecuritypolicies"),
    ),
    Refusal(
        r"(?i)security ?context ?constraint",
        "no security context constraint lets the pods run",
        "ask for a constraint for the ServiceAccount of the pods (OpenShift)",
        Command("kubectl get securitycontextconstraints"),
    ),
    Refusal(  # the API server has taken the template: the same would have been refused there
        r"(?i)pods? \"[^\"]*\" is invalid: .{0,300}: must be unique",
        "what a webhook adds to the pods stands in them already",
        "check which webhook changes pods, and leave out what it adds, or let it leave these pods alone",
        Command("kubectl get mutatingwebhookconfigurations"),
    ),
    Refusal(
        r"(?i)pods? \"[^\"]*\" is invalid|: Invalid value:|unknown field",
        "the pod template is invalid",
        "correct the pod template that the Workspace names",
    ),
    Refusal(
        r"(?i)failed to create PVC|persistentvolumeclaims? .* is forbidden",
        "the volume claims of the StatefulSet cannot be created",
        "check the message: a quota of storage, or a storage class that does not exist",
        Command("kubectl get persistentvolumeclaims,storageclasses -n {namespace}"),
    ),
    Refusal(
        r"(?i)\bis forbidden: User \"(?P<name>[^\"]+)\" cannot",
        "{name} may not create pods here",
        "give the workload controller its rights back",
        Command("kubectl get clusterrolebinding -o wide"),
    ),
    Refusal(
        r"cannot set blockOwnerDeletion",
        "the controller may not set an owner that blocks deletion",
        "give it the right to update finalizers of the owner (OwnerReferencesPermissionEnforcement)",
        Command("kubectl get clusterrolebinding -o wide"),
    ),
    Refusal(
        r"(?i)etcdserver|too many requests|timed? ?out|deadline exceeded|connection refused|unavailable",
        "the API server was too busy to create the pods",
        "it is retried automatically; check the health of the API server",
        Command("kubectl get --raw /readyz"),
        passes=True,
    ),
)
