"""Rules of `validate` as CEL in a ValidatingAdmissionPolicy: for clusters that want no webhook. Pure.

`rules` and `changes` are the rules, `tables` the catalog as CEL; `policy_objects` puts them together and
names what CEL cannot say.
"""

from kaitoctl.kaito.admission_policy.policy_objects import NAME, NOT_SAID, policy
from kaitoctl.kaito.admission_policy.rule import Rule
from kaitoctl.kaito.admission_policy.rules import rules

__all__ = ["NAME", "NOT_SAID", "Rule", "policy", "rules"]
