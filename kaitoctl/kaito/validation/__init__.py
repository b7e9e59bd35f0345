"""What is wrong with a Workspace: its schema's view, KAITO's rules, and what KAITO would silently ignore.

`judgement` puts the whole answer together. The rules of KAITO's admission webhook and ours, for what the
webhook lets through and the controller then ignores, crashes on or never gets ready, are in `create...` and
`update`, the tables of what is ignored, with their hints, in `ignored_fields`. What each release of KAITO
itself answers is in `releases` (a row each), `admission` and `outcomes`; `codes` explains every code to
people, and no rule needs it. Nothing here asks a cluster: whether nodes are there is the business of
`node_check`.
"""

from kaitoctl.kaito.validation.adapter_runtime import loading_adapters, wants_strength
from kaitoctl.kaito.validation.create import fits
from kaitoctl.kaito.validation.grammar import image_fault, is_dns_label, is_dns_name, strength_fault
from kaitoctl.kaito.validation.judgement import judge, not_used, problems, schema_of, update_problems
from kaitoctl.kaito.validation.outcomes import of_unread
from kaitoctl.kaito.validation.problem import OWN, TARGETS, Answer, Problem, Setting, Severity

__all__ = [
    "OWN",
    "TARGETS",
    "Answer",
    "Problem",
    "Setting",
    "Severity",
    "fits",
    "image_fault",
    "is_dns_label",
    "is_dns_name",
    "judge",
    "loading_adapters",
    "not_used",
    "of_unread",
    "problems",
    "schema_of",
    "strength_fault",
    "update_problems",
    "wants_strength",
]
