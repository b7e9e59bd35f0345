"""What applying manifests would do, said before it is done.

`plan` is the answer as data, `change` makes an entry of it, `outage` is what restarts cost, `of_kaito` the
nodes that KAITO asks for; what kaitoctl's own controller does is forecast by the controller itself
(`workspace_controller.forecast`).
"""

from kaitoctl.kaito.planning.change import (
    Effects,
    Trial,
    as_just_seen,
    change_of,
    config_map_problems,
    effects_by_kaito,
    immutable_only,
    problems,
    recreation,
    restart,
    restarts_by_kaito,
)
from kaitoctl.kaito.planning.loading import Loading, loading
from kaitoctl.kaito.planning.of_kaito import Share
from kaitoctl.kaito.planning.of_sets import SetEffects, change_of_set, effects_of_set, set_problems
from kaitoctl.kaito.planning.outage import (
    Outage,
    Placing,
    contests,
    deadlock,
    nodes_held,
    outage,
    outage_of_replica,
    placing,
    span,
    surges,
)
from kaitoctl.kaito.planning.plan import GIVEN, Change, Fate, Plan, is_plan, what_moved

__all__ = [
    "GIVEN",
    "Change",
    "Effects",
    "Fate",
    "Loading",
    "Outage",
    "Placing",
    "Plan",
    "SetEffects",
    "Share",
    "Trial",
    "as_just_seen",
    "change_of",
    "change_of_set",
    "config_map_problems",
    "contests",
    "deadlock",
    "effects_by_kaito",
    "effects_of_set",
    "immutable_only",
    "is_plan",
    "loading",
    "nodes_held",
    "outage",
    "outage_of_replica",
    "placing",
    "problems",
    "recreation",
    "restart",
    "restarts_by_kaito",
    "set_problems",
    "span",
    "surges",
    "what_moved",
]
