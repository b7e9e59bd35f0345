"""Which tests share a process, and so a control plane."""

from __future__ import annotations

from few_planes import scopes

TESTS = [
    "tests/cli/test_edit.py::test_an_edit[sandbox]",
    "tests/cli/test_edit.py::test_an_edit[control-plane-2]",
    "tests/cli/test_view.py::test_a_view",
    "tests/controlplane/test_chart.py::test_a_chart",
    "tests/conformance/test_objects.py::test_create[sandbox]",
    "tests/conformance/test_objects.py::test_create[real]",
    "tests/conformance/test_kubectl_verbs.py::test_a_verb",
    "tests/conformance/test_kubectl_verbs.py::test_as_on_a_real_control_plane_too",
    "tests/security/test_pods.py::test_a_real_api_server_judges_alike",
    "tests/conformance/test_tables.py::test_a_table",
]


def test_files_stay_whole_and_share_two_control_planes_in_turn_and_a_bare_one() -> None:
    bare = "the bare control plane"
    assert scopes(TESTS, 2) == {
        "tests/cli/test_edit.py": "control plane 0",
        "tests/cli/test_view.py": "tests/cli/test_view.py",
        "tests/controlplane/test_chart.py": "control plane 1",
        "tests/conformance/test_objects.py": bare,
        "tests/conformance/test_kubectl_verbs.py": "control plane 0",
        "tests/security/test_pods.py": "control plane 1",
        "tests/conformance/test_tables.py": bare,
    }
