"""Which GPUs are too old for the server of a release. The figures are those of vLLM's own builds."""

from __future__ import annotations

import pytest

from kaitoctl.kaito import catalog, fit, gpu_age, gpu_nodes, validation
from kaitoctl.kaito.catalog import Model, Preset
from kaitoctl.kaito.validation import Setting, releases


def wanted(name: str, release: str) -> Preset | Model:
    if release in ("v0.3", "v0.4", "v0.4.6"):
        found: Preset | Model | None = catalog.SHIPPED.preset(name)
    else:
        found = releases.as_of(release, catalog.SHIPPED).model(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "release", "runtime", "least"),
    [
        # The guide's model on the guide's V100, and everywhere that it is served.
        ("falcon-7b", "v0.3", "", (5, 0)),
        ("falcon-7b", "v0.4", "", (7, 0)),
        ("falcon-7b", "v0.4", "transformers", (5, 0)),
        ("falcon-7b", "v0.4.6", "", (7, 0)),
        ("falcon-7b", "v0.7", "", (7, 0)),
        ("falcon-7b", "v0.9.4", "transformers", (7, 0)),
        # float16 up to v0.9, where KAITO says so for old GPUs in v0.10 and v0.11, and never in v0.12.
        ("phi-4", "v0.7", "", (7, 0)),
        ("phi-4", "v0.9.4", "", (7, 0)),
        ("phi-4", "v0.10.0", "", (7, 0)),
        ("phi-4", "v0.11.0", "", (7, 5)),
        ("phi-4", "v0.12", "", (8, 0)),
        ("phi-4", "v0.12", "transformers", (7, 5)),
        ("gemma-3-4b-instruct", "v0.9", "", (8, 0)),
        ("gemma-3-4b-instruct", "v0.10", "", (7, 0)),
        # Without a format on the command line, the format of the weights decides.
        ("gpt-oss-20b", "v0.12", "", (8, 0)),
        ("qwen/qwen3-8b-awq", "v0.12", "", (7, 5)),
        ("mistral-large-3-675b-instruct", "v0.12", "", (7, 5)),
    ],
)
def test_what_a_release_takes(name: str, release: str, runtime: str, least: tuple[int, int]) -> None:
    asked = gpu_age.demands(wanted(name, release), release, runtime=runtime)
    assert max(demand.least for demand in asked) == least
    assert gpu_age.too_old(asked, least) is None
    older = gpu_age.too_old(asked, (least[0], least[1] - 1) if least[1] else (least[0] - 1, 9))
    assert older is not None and f"{least[0]}.{least[1]}" in older.words((1, 0))


def test_nobody_is_turned_away_unseen() -> None:
    assert gpu_age.too_old(gpu_age.demands(wanted("phi-4", "v0.12"), "v0.12"), None) is None
    assert gpu_age.demands(catalog.presets()["falcon-7b"]._replace(local_model="tiny"), "v0.4") == ()


def test_every_nvidia_type_says_its_capability() -> None:
    for machine in catalog.instance_types().values():
        is_nvidia = machine.gpu_model.startswith("NVIDIA ")
        assert (gpu_age.capability(machine.cuda_capability) is not None) is is_nvidia, machine.name


@pytest.mark.parametrize("release", ["v0.3", "v0.4", "v0.7.0", "v0.9", "v0.11.0", "v0.12"])
def test_no_type_is_offered_that_the_server_does_not_run_on(release: str) -> None:
    items: list[Preset | Model] = list(catalog.presets().values())
    if release not in ("v0.3", "v0.4"):
        items = list(releases.as_of(release, catalog.SHIPPED).models.values())
    floor = {"v0.3": (5, 0), "v0.4": (5, 0), "v0.11.0": (7, 5), "v0.12": (7, 5)}.get(release, (7, 0))
    for item in items:
        for choice in fit.choices_on(item, catalog.instance_types().values(), target=release):
            has = gpu_age.capability(choice.instance_type.cuda_capability)
            if choice.sizing.fits:
                assert has is not None and has >= floor, (item.name, choice.instance_type.name)


def test_nodes_of_old_gpus_are_not_taken() -> None:
    old = gpu_nodes.GpuNode("old", "", 1, 1, 16.0, 16.0, capability=(5, 2))
    new = gpu_nodes.GpuNode("new", "", 1, 1, 80.0, 80.0, capability=(8, 0))
    falcon = catalog.presets()["falcon-7b"]
    (found,) = fit.placements([falcon], [old])
    assert not found.fits and "compute capability 5.2, and vLLM in KAITO v0.4 takes 7.0" in found.why
    assert fit.placements([falcon], [old, new])[0].nodes == ("new",)
    assert fit.placements([falcon], [old], release="v0.3")[0].nodes == ("old",)


@pytest.mark.parametrize(
    ("preset", "machine", "release", "runtime", "words"),
    [
        (
            "falcon-7b",
            "Standard_NV24",
            "v0.4",
            "",
            "compute capability 5.2, and vLLM in KAITO v0.4 takes 7.0",
        ),
        ("falcon-7b", "Standard_NV24", "v0.4", "transformers", ""),
        ("falcon-7b", "Standard_NV24", "v0.3", "", ""),
        (
            "falcon-7b",
            "Standard_NC24",
            "v0.3",
            "",
            "compute capability 3.7, and PyTorch in KAITO v0.3 takes 5.0",
        ),
        ("falcon-7b", "Standard_NC12s_v3", "v0.4", "", ""),  # the guide's
        ("phi-4", "p3.16xlarge", "v0.11.0", "", "compute capability 7.0, and vLLM in KAITO v0.11 takes 7.5"),
        ("phi-4", "Standard_NC64as_T4_v3", "v0.11.0", "", ""),
        ("falcon-7b", "Standard_NV24", "kaitoctl", "", ""),
    ],
)
def test_validate_says_so_and_kaito_admits_it(
    preset: str, machine: str, release: str, runtime: str, words: str
) -> None:
    is_old = preset == "falcon-7b"
    workspace = {
        "apiVersion": "kaito.sh/v1alpha1" if is_old else "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "w", **({"annotations": {"kaito.sh/runtime": runtime}} if runtime else {})},
        "resource": {"instanceType": machine, "labelSelector": {"matchLabels": {"a": "b"}}},
        "inference": {"preset": {"name": preset}},
    }
    found = [one for one in validation.judge(workspace, Setting(release)) if one.code == "KW133"]
    assert [one.severity for one in found] == (["error"] if words else [])
    assert all(words in one.message and one.kaito == "never-ready" for one in found)


V100, OF_OWN = "Standard_NC12s_v3", "kaitoctl"


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
@pytest.mark.parametrize(
    ("preset", "machine", "byo", "severities"),
    [
        ("phi-4", V100, False, ["error"]),
        ("llama-3.3-70b-instruct", V100, False, ["error"]),
        ("phi-3.5-mini-instruct", V100, False, ["error"]),  # a name that v0.4 has, too, and nothing pins it
        ("phi-4", V100, None, ["warning"]),  # the controller's own refusals: who brings nodes is not said
        ("phi-4", V100, True, []),  # they are chosen by label, whatever the type says
        ("phi-4", "Standard_NC24ads_A100_v4", False, []),
        ("phi-4", "Standard_NC64as_T4_v3", False, []),
        ("falcon-7b", V100, False, []),  # the guide's: transformers of v0.4
    ],
)
def test_kaitoctls_own_controller_buys_no_nodes_that_todays_server_cannot_use(
    version: str, preset: str, machine: str, byo: bool | None, severities: list[str]
) -> None:
    workspace = {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "Workspace",
        "metadata": {"name": "w"},
        "resource": {"instanceType": machine, "labelSelector": {"matchLabels": {"a": "b"}}},
        "inference": {"preset": {"name": preset}},
    }
    found = [one for one in validation.judge(workspace, Setting(OF_OWN, byo=byo)) if one.code == "KW133"]
    assert [one.severity for one in found] == severities
    assert all(f"kaitoctl fit {preset}" in one.line for one in found)


@pytest.mark.parametrize(
    ("preset", "byo", "generation", "found"),
    [
        ("phi-4", False, "", [("KW133", "error")]),
        ("phi-4", True, "", [("KW138", "warning")]),
        ("falcon-7b", False, "", [("KW138", "warning")]),
        ("phi-3.5-mini-instruct", False, "", [("KW133", "error")]),
        ("phi-3.5-mini-instruct", False, "v0.4", [("KW138", "warning")]),
    ],
)
def test_the_default_type_of_v1alpha1_is_not_meant_for_todays_models(
    preset: str, byo: bool, generation: str, found: list[tuple[str, str]]
) -> None:
    workspace = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "w"},
        "resource": {"labelSelector": {"matchLabels": {"a": "b"}}},
        "inference": {"preset": {"name": preset}},
    }
    setting = Setting(OF_OWN, byo=byo, image_generation=generation)
    judged = validation.judge(workspace, setting)
    assert [(one.code, one.severity) for one in judged if one.path == "resource.instanceType"] == found
    assert all("no instance type, which means Standard_NC12s_v3" in one.message for one in judged)
