"""deploy/chart: the same objects as deploy/*.yaml, by real helm, and values that are refused by name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from built import helm
from shell import BIN

import kaitoctl
from kaitoctl.kube.objects import Object
from release import chart

CHART, DEPLOY = chart.DEPLOY / "chart", chart.DEPLOY
NAMESPACE = "kaitoctl-system"


def rendered(*settings: str, namespace: str = NAMESPACE) -> list[Object]:
    chosen = [word for setting in settings for word in ("--set", setting)]
    text = helm("template", "kaitoctl", str(CHART), "-n", namespace, "--kube-version", "1.37.0", *chosen)
    return [one for one in yaml.safe_load_all(text) if one]


def of_files(*names: str) -> list[Object]:
    found = [one for name in names for one in yaml.safe_load_all((DEPLOY / name).read_text())]
    return [one for one in found if one["kind"] != "Namespace"]


def by_name(objects: Iterable[Object]) -> dict[str, Object]:
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in objects}


def container(objects: Iterable[Object], name: str) -> Object:
    (found,) = by_name(objects)[f"Deployment/{name}"]["spec"]["template"]["spec"]["containers"]
    made: Object = found
    return made


def test_the_templates_are_those_that_deploy_says() -> None:
    for name, text in chart.templates().items():
        assert (chart.TEMPLATES / name).read_text() == text, "python3 dev.py chart"


def schema() -> Any:
    return json.loads((CHART / "values.schema.json").read_text())


def test_the_values_are_what_their_schema_says_and_all_of_it() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.validate(values, schema())

    def keys(value: Any, properties: Any) -> None:
        assert set(value) == set(properties) - {"global"}
        for key, below in value.items():
            if "properties" in properties[key]:
                keys(below, properties[key]["properties"])

    keys(values, schema()["properties"])


@pytest.mark.parametrize(
    ("values", "at"),
    [
        ({"imag": {}}, ""),
        ({"controller": {"replicas": -1}}, "controller.replicas"),
        ({"controller": {"replicas": "two"}}, "controller.replicas"),
        ({"controller": {"nodeProvisioner": "gcp"}}, "controller.nodeProvisioner"),
        ({"controller": {"extraArgs": ["serve"]}}, "controller.extraArgs.0"),
        ({"controller": {"nodeProvisoner": "byo"}}, "controller"),
        ({"webhook": {"failurePolicy": "Perhaps"}}, "webhook.failurePolicy"),
        ({"webhook": {"targetVersion": "newest"}}, "webhook.targetVersion"),
        ({"image": {"repository": "Registry.example/Kaitoctl:1 "}}, "image.repository"),
        ({"podMonitor": {"interval": "often"}}, "podMonitor.interval"),
        ({"userRoles": "yes"}, "userRoles"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(values: Object, at: str) -> None:
    (problem, *_) = jsonschema.Draft7Validator(schema()).iter_errors(values)
    assert ".".join(map(str, problem.absolute_path)) == at


def test_helm_finds_nothing_to_say_about_it() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


def test_without_values_it_makes_what_deploy_has() -> None:
    made, wanted = by_name(rendered()), by_name(of_files("controller.yaml", "users.yaml"))
    made.pop("PodDisruptionBudget/kaitoctl-controller")
    (pod,) = made["Deployment/kaitoctl-controller"]["spec"]["template"]["spec"]["containers"]
    assert pod.pop("imagePullPolicy") == "IfNotPresent"
    assert made == wanted


def test_the_webhook_and_karpenter_are_those_of_deploy() -> None:
    of_webhook = ["controller.enabled=false", "userRoles=false", "webhook.enabled=true"]
    made, wanted = by_name(rendered(*of_webhook)), by_name(of_files("webhook.yaml"))
    container(made.values(), "kaitoctl-webhook").pop("imagePullPolicy")
    assert made == wanted
    more = by_name(rendered("controller.nodeProvisioner=karpenter")).keys() - by_name(rendered()).keys()
    assert more == by_name(of_files("karpenter.yaml")).keys()


def test_values_reach_the_pods() -> None:
    made = rendered(
        *(
            "image.tag=v9",
            "image.pullSecrets[0].name=mine",
            "webhook.enabled=true",
            "podMonitor.enabled=true",
        ),
        *("webhook.targetVersion=v0.12", "webhook.failurePolicy=Fail", "controller.extraArgs[0]=--dry-run"),
        *("controller.nodeSelector.pool=system", "networkPolicy.enabled=true", "controller.replicas=1"),
        namespace="elsewhere",
    )
    found = by_name(made)
    deployment = found["Deployment/kaitoctl-controller"]["spec"]
    pod = deployment["template"]["spec"]
    assert deployment["replicas"] == 1
    assert pod["nodeSelector"] == {"pool": "system"}
    assert pod["imagePullSecrets"] == [{"name": "mine"}]
    controller, webhook = (container(made, f"kaitoctl-{part}") for part in ("controller", "webhook"))
    assert controller["image"] == webhook["image"] == "registry.example/kaitoctl:v9"
    assert {"--dry-run", "--lease-namespace=elsewhere"} <= set(controller["args"])
    assert "--target-version=v0.12" in webhook["args"]
    (rule,) = found["ValidatingWebhookConfiguration/kaitoctl-webhook"]["webhooks"]
    assert (rule["failurePolicy"], rule["clientConfig"]["service"]["namespace"]) == ("Fail", "elsewhere")
    assert {one["metadata"].get("namespace", "elsewhere") for one in made} == {"elsewhere"}
    assert {"PodMonitor/kaitoctl-controller", "NetworkPolicy/kaitoctl-webhook"} <= found.keys()


def test_the_webhook_in_the_controller_is_that_of_deploy() -> None:
    chosen = ["webhook.enabled=true", "webhook.inController=true", "networkPolicy.enabled=true"]
    made = by_name(rendered(*chosen, "podMonitor.enabled=true"))
    more = made.keys() - by_name(rendered("networkPolicy.enabled=true", "podMonitor.enabled=true")).keys()
    wanted = by_name(of_files("controller-webhook.yaml"))
    assert {name: made[name] for name in more} == wanted, "no pods, monitors or policies of its own"
    words = container(made.values(), "kaitoctl-controller")["args"]
    assert {"--webhook", f"--webhook-secret={NAMESPACE}/kaitoctl-webhook"} <= set(words)
    (rule,) = made["NetworkPolicy/kaitoctl-controller"]["spec"]["ingress"]
    (served,) = wanted["Service/kaitoctl-webhook"]["spec"]["ports"]
    assert served["targetPort"] in [port["port"] for port in rule["ports"]]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("controller.enabled=false", "the controller is not enabled"),
        ("webhook.targetVersion=v0.12", "the controller's own rules count"),
    ],
)
def test_a_webhook_in_the_controller_that_cannot_be_is_refused(setting: str, words: str) -> None:
    chosen = f"webhook.enabled=true,webhook.inController=true,{setting}"
    assert words in helm("template", "kaitoctl", str(CHART), "--set", chosen, code=1)


def test_a_release_names_its_version_wherever_deploy_names_one() -> None:
    files = [*(DEPLOY / name for name in ("controller.yaml", "webhook.yaml", "kustomization.yaml"))]
    for file in (*files, CHART / "Chart.yaml"):
        made = chart.of_version(file.read_text(), kaitoctl.__version__, "7.8.9rc1")
        assert kaitoctl.__version__ not in made.replace("v1alpha1", ""), file
        assert "7.8.9" in made
    assert "version: 7.8.9-rc1\nappVersion: 7.8.9rc1" in made


def test_the_package_is_one_that_helm_takes_and_always_the_same(tmp_path: Path) -> None:
    made = chart.package(DEPLOY, tmp_path)
    assert made.name == f"kaitoctl-{chart.semantic(kaitoctl.__version__)}.tgz"
    first = made.read_bytes()
    assert chart.package(DEPLOY, tmp_path).read_bytes() == first
    of_package = helm("template", "kaitoctl", str(made), "-n", NAMESPACE, "--kube-version", "1.37.0")
    assert by_name(one for one in yaml.safe_load_all(of_package) if one) == by_name(rendered())


def test_kustomize_makes_what_deploy_has() -> None:
    done = subprocess.run(
        [BIN / "kubectl", "kustomize", str(DEPLOY)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = by_name(yaml.safe_load_all(done.stdout))
    made.pop("Namespace/kaitoctl-system")
    assert made == by_name(of_files("controller.yaml", "users.yaml"))


def test_all_versions_are_those_of_the_package() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["version"] == chart.semantic(kaitoctl.__version__)
    assert about["appVersion"] == kaitoctl.__version__
    images = yaml.safe_load((Path(DEPLOY) / "kustomization.yaml").read_text())["images"]
    assert [one["newTag"] for one in images] == [kaitoctl.__version__]
