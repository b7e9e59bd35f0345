"""What `kaitoctl doctor` finds wrong with an installation, each with what it means and how to fix it.

`kaitoctl explain` and docs/troubleshooting.md print this table. Codes are stable. What `doctor` shares with
`why`, such as `crd-missing`, stands in `diagnosis.codes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kaitoctl.kaito.diagnosis.codes import Code

CODES: Mapping[str, Code] = MappingProxyType(
    {
        "crd-of-other-release": Code(
            "the CRD of Workspaces is of another release than the controller",
            "fields that were written are gone when they are read; `no matches for kind` in the "
            "controller's log",
            "Helm installs CRDs once and does not upgrade those in a chart's folder `crds`. The API server "
            "drops what an older CRD does not know, and a controller that reads a version which is not "
            "served does not start.",
            "Apply the CRD of the controller's release: it stands in `config/crd/bases` of that release.",
        ),
        "crd-being-deleted": Code(
            "a CRD is being deleted, and all of its objects with it",
            "condition `Terminating` of the CRD; `create not allowed while custom resource definition is "
            "terminating`",
            "Somebody has deleted the definition, or uninstalled the chart that owns it. That cannot be "
            "taken back: every object of the kind is being deleted, and the definition stays until their "
            "finalizers are gone, for which their controller must run.",
            "Save what is still there, let the controller end, and apply the CRD and the objects again. "
            "While NodeClaims are deleted, so are the machines.",
        ),
        "crd-not-established": Code(
            "a CRD is there and is not served",
            "condition `Established` or `NamesAccepted` of the CRD is False",
            "Its names are taken by another definition, or the API server has not finished with it.",
            "The condition's message names the other one: take one of the two away.",
        ),
        "namespace-terminating": Code(
            "a namespace is being deleted",
            "phase Terminating; `because it is being terminated`",
            "Nothing can be created in it. It goes when the last object in it is gone: what its conditions "
            "name keeps it, a finalizer whose controller does not run, or an API that nobody serves, so "
            "that the cluster cannot tell whether objects of it are left.",
            "Take away what the conditions name: repair the API, or start the controller of the finalizer. "
            "Work in another namespace meanwhile.",
        ),
        "api-service-unavailable": Code(
            "nobody answers for an API of the cluster",
            "`couldn't get resource list for ...`, `the server is currently unable to handle the request`; "
            "namespaces that stay Terminating with `NamespaceDeletionDiscoveryFailure`",
            "An APIService hands an API group to a program in the cluster, and that does not answer: "
            "metrics servers and adapters, mostly. Discovery is incomplete without it, so that namespaces "
            "are not deleted, garbage is not collected, and autoscalers have no metrics.",
            "Start that program, or correct the Service that the APIService names. Where the program has "
            "been taken away for good, its APIService was left behind and is to be removed, too.",
        ),
        "kubernetes-too-old": Code(
            "Kubernetes is older than what this release of KAITO is made for",
            "the API server's version",
            "KAITO supports what Kubernetes itself supported when it was released; nobody has tried it with "
            "what is older. What it creates may have fields that the server drops.",
            "Upgrade the cluster, or install the KAITO of that time.",
        ),
        "clock-skew": Code(
            "clocks differ",
            "`certificate has expired or is not yet valid`, tokens that are not accepted, leases that "
            "change hands, ages that are wrong",
            "The clock of a node, or of this machine, is more than a minute away from the API server's. "
            "Certificates and tokens count as not yet valid or as expired, image pulls fail by their "
            "registry's certificate, and times of events are wrong. A node's clock is read from the lease "
            "that it renews.",
            "Synchronise the clock (chrony, systemd-timesyncd, the hypervisor's).",
        ),
    }
)
