"""Why a Workspace is not ready: one root cause, and what else was found. Pure.

`root_cause` applies the rules in their order and picks the one cause. The modules `of_...` hold the rules,
each of one subject; `reasons` has the words of Kubernetes that they know, `karpenter` those of Karpenter, and
`of_logs` reads logs by the tables of `log_patterns`. `codes` explains what the rules find, `case` has what
they share. A rule reads what Kubernetes and every KAITO leave behind: conditions, NodeClaims and Machines,
workloads, pods, events, logs. What it needs and is not there (events that may not be listed, logs) costs
evidence, or leads to a more general code; it never fails the whole.
"""

from kaitoctl.kaito.diagnosis.case import budget_of
from kaitoctl.kaito.diagnosis.cause import Cause, Weight
from kaitoctl.kaito.diagnosis.of_configuration import references
from kaitoctl.kaito.diagnosis.of_scheduling import gates_of
from kaitoctl.kaito.diagnosis.root_cause import Diagnosis, diagnose

__all__ = ["Cause", "Diagnosis", "Weight", "budget_of", "diagnose", "gates_of", "references"]
