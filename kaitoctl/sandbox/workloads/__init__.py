"""What a cluster's own controllers do, simulated: workloads become pods, pods find nodes and seem to run.

Everything here is an ordinary client of the API server, built on `kaitoctl.reconcile`; the reconcilers are
generators without I/O. `timetable` decides what a pod shows when, `scheduler` where it goes, `deployments`,
`statefulsets` and `jobs` which pods there are, `endpoints` how they are reached, `provisioner` which nodes
join. `pods` holds what they share, and `controllers` connects them; state lives in the objects alone, so that
any of it may be stopped and started again.
"""

from kaitoctl.sandbox.workloads.controllers import Workloads

__all__ = ["Workloads"]
