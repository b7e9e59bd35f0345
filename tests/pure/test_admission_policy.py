"""The admission policy as text: what it covers, what it does not, and that each expression is of one piece.

tests/controlplane/test_admission_policy.py asks a real API server.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kaitoctl.kaito import admission_policy
from kaitoctl.kaito.catalog import SHIPPED
from kaitoctl.kaito.validation.codes import CODES

PAGE = Path(__file__).parent.parent.parent / "docs" / "admission.md"
BEGIN, END = "<!-- rules: written by a test -->\n", "<!-- end of rules -->\n"
RULES = admission_policy.rules(SHIPPED)


def tables() -> str:
    """What the policy says, and what CEL cannot say, as Markdown."""
    lines = ["| code | field | refused unless | not covered |", "|---|---|---|---|"]
    for rule in RULES:
        lines.append(f"| {rule.code} | `{rule.path or '.'}` | {rule.message} | {rule.partly} |")
    lines += ["", "| codes that no rule of the policy covers | why |", "|---|---|"]
    reasons = list(dict.fromkeys(admission_policy.NOT_SAID.values()))
    for reason in reasons:
        codes = sorted(code for code, why in admission_policy.NOT_SAID.items() if why == reason)
        lines.append(f"| {', '.join(codes)} | {reason} |")
    return "\n".join(lines) + "\n"


def test_every_code_is_covered_or_has_a_reason() -> None:
    covered = {rule.code for rule in RULES}
    assert covered & admission_policy.NOT_SAID.keys() == set()
    of_workspaces = {code for code in CODES if code < "KW300"}
    assert covered | admission_policy.NOT_SAID.keys() == of_workspaces


def test_the_page_names_what_is_covered_and_what_is_not(request: pytest.FixtureRequest) -> None:
    text = PAGE.read_text("utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    wanted = f"{before}{BEGIN}{tables()}{END}{after}"
    if request.config.getoption("--update-golden"):
        PAGE.write_text(wanted, "utf-8")
    assert PAGE.read_text("utf-8") == wanted, "python3 dev.py docs"


def test_one_policy_and_the_binding_that_makes_it_count() -> None:
    policy, binding = admission_policy.policy(SHIPPED)
    assert binding["spec"] == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}
    words = [one["message"] for one in policy["spec"]["validations"]]
    assert len(set(words)) == len(words), "two rules with one message cannot be told apart"
    assert all(len(one["expression"]) < 4000 for one in policy["spec"]["validations"])
