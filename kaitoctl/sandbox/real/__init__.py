"""Pods whose main container is a process of this machine, and whose init containers really copy files.

Nothing of a manifest is executed: which pods these are, and which command of ours stands for a container, is
a `Plan`, which whoever starts the sandbox makes of a pod. All else of a pod stays with the timetable.
"""

from kaitoctl.sandbox.real.listeners import Listeners
from kaitoctl.sandbox.real.plan import CONFIG, Plan, PlanOf
from kaitoctl.sandbox.real.pods import RealPods

__all__ = ["CONFIG", "Listeners", "Plan", "PlanOf", "RealPods"]
