"""What people who come from kubectl, flux and uv expect; docs/conventions.md has a row for each test.

The rows of screens are checked on the sandbox; who we say we are, on a server that echoes it, beside kubectl.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube.echo_server import Place, place
from shell import BIN, Shell
from world import falcon

from kaitoctl.commands import invocation
from kaitoctl.kube.client import connect
from kaitoctl.kube.overrides import Overrides

PAGE = Path(__file__).parent.parent.parent / "docs" / "conventions.md"
NAMESPACE = "conventions"


@pytest.fixture(scope="module")
def listed(sandbox_shell: Shell) -> Shell:
    """A shell whose namespace has two Workspaces that wait for nodes, one of them of a team."""
    shell = sandbox_shell
    shell.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    for name, labels in (("zebra", {"team": "a"}), ("apple", {})):
        obj = falcon(labelSelector={"matchLabels": {"apps": name}})
        obj["metadata"] = {"name": name, "namespace": NAMESPACE, "labels": labels}
        shell.apply(obj)
    return shell


def status(shell: Shell, *options: str) -> str:
    return shell.kaitoctl("status", "-n", NAMESPACE, *options).stdout


# --- what is written -------------------------------------------------------------------------------------


def test_jsonpath_finds_what_kubectl_finds(listed: Shell) -> None:
    for template in (
        "{.items[*].metadata.name}",
        '{range .items[*]}{.metadata.name}{"\\t"}{.resource.instanceType}{"\\n"}{end}',
        "{.items[?(@.metadata.name=='apple')].kind}",
        "{.items[0].metadata.labels}",
        "{.items[0].nothing}",
        ".items[1].metadata.name",
    ):
        theirs = listed.kubectl("get", "workspaces", "-n", NAMESPACE, "-o", f"jsonpath={template}")
        items = json.loads(listed.kubectl("get", "workspaces", "-n", NAMESPACE, "-o", "json"))
        assert chosen(items, f"jsonpath={template}") == theirs, template


def chosen(value: Any, output: str) -> str:
    from kaitoctl.screens import output_templates

    return output_templates.jsonpath_text(value, output)


def test_jsonpath_is_taken_wherever_there_is_json(listed: Shell) -> None:
    assert status(listed, "-o", "jsonpath={.workspaces[*].name}") == "apple zebra"
    skus = listed.kaitoctl("skus", "list", "-o=jsonpath={.instance_types[?(@.gpus>4)].name}").stdout
    assert "Standard_ND96asr_v4" in skus and "Standard_NC6s_v3" not in skus


def test_names_with_dots_are_escaped_as_for_kubectl() -> None:
    value = {"labels": {"kaito.sh/workspace": "falcon"}}
    assert chosen(value, r"jsonpath={.labels.kaito\.sh/workspace}") == "falcon"


@pytest.mark.parametrize("template", ["{.a", "{range .a}", "{end}", "{.a[}", ""])
def test_a_template_that_cannot_be_read_is_refused_before_anything_is_asked(
    offline: Shell, template: str
) -> None:
    done = offline.kaitoctl("skus", "list", "-o", f"jsonpath={template}", code=2)
    assert done.stdout == ""
    assert "kubernetes.io/docs/reference/kubectl/jsonpath" in done.stderr


def test_custom_columns_have_a_row_for_each_item(listed: Shell) -> None:
    lines = status(listed, "-o", "custom-columns=WHO:.name,WHAT:.nothing").splitlines()
    assert [line.split() for line in lines] == [["WHO", "WHAT"], ["apple", "<none>"], ["zebra", "<none>"]]


def test_names_can_be_given_to_kubectl(listed: Shell) -> None:
    names = status(listed, "-o", "name").split()
    assert listed.kubectl("get", "-n", NAMESPACE, "-o", "name", *names).split() == names


def test_names_of_nodes_and_of_revisions_can_be_given_to_kubectl(listed: Shell) -> None:
    options = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "--label", "apps=named")
    listed.kaitoctl("create", "workspace", "named", *options, "-n", NAMESPACE)
    where = ("-n", NAMESPACE)
    of_one = (("rollout", "history"), ("check-nodes",), ("events",), ("endpoint",))
    for command in (*((*words, "named", *where) for words in of_one), ("nodes",)):
        names = listed.kaitoctl(*command, "-o", "name").stdout.split()
        assert names, command
        assert listed.kubectl("get", "-n", NAMESPACE, "-o", "name", *names).split() == names
    listed.kaitoctl("delete", "named", *where, "--yes")


def test_yaml_says_what_json_says(listed: Shell) -> None:
    assert yaml.safe_load(status(listed, "-o", "yaml")) == json.loads(status(listed, "-o", "json"))


def test_wide_has_more_columns_and_cuts_nothing(listed: Shell) -> None:
    narrow, wide = (status(listed, *more).splitlines()[0].split() for more in ((), ("-o", "wide")))
    assert set(narrow) < set(wide)
    _, drawn = listed.seen("status", "-n", NAMESPACE, "-o", "wide", columns=60)
    assert re.sub(r"\x1b\[[\d;]*m", "", drawn).splitlines()[0].split() == wide
    assert "Standard_NC12s_v3" in drawn


@pytest.mark.parametrize("command", ["template list", "runtime models list", "skus list"])
def test_a_list_of_names_takes_every_format(offline: Shell, command: str) -> None:
    def said(*options: str) -> list[str]:
        return offline.kaitoctl(*command.split(), *options).stdout.splitlines()

    names = said("-o", "name")
    assert names
    assert len(said("-o", "wide")) == len(said("-o", "wide", "--no-headers")) + 1
    ((key, items),) = json.loads("\n".join(said("-o", "json"))).items()
    assert [item["name"] for item in items] == names
    assert " ".join(said("-o", f"jsonpath={{.{key}[*].name}}")).split() == names
    columns = said("-o", "custom-columns=N:.name", "--sort-by", ".name")
    assert [line.strip() for line in columns] == ["N", *sorted(names)]


def test_headers_can_be_left_out(listed: Shell) -> None:
    with_them, without = status(listed), status(listed, "--no-headers")
    assert len(with_them.splitlines()) == len(without.splitlines()) + 1
    assert "NAME" not in without


def test_rows_are_ordered_by_a_field(offline: Shell) -> None:
    def memories(*options: str) -> list[int]:
        found = json.loads(offline.kaitoctl("skus", "list", "-o", "json", *options).stdout)
        return [row["gpu_memory_gib"] for row in found["instance_types"]]

    assert memories("--sort-by", "{.gpu_memory_gib}") == sorted(memories()) != memories()
    offline.kaitoctl("skus", "list", "--sort-by", "{.[", code=2)
    done = offline.kaitoctl("models", "list", "--sort-by", ".nosuch", code=2)
    assert "no item has such a field" in done.stderr and "they have: name" in done.stderr


def test_a_selector_selects_by_labels(listed: Shell) -> None:
    assert status(listed, "-l", "team=a", "-o", "jsonpath={.workspaces[*].name}") == "zebra"
    assert status(listed, "-l", "team!=a", "-o", "jsonpath={.workspaces[*].name}") == "apple"


def test_all_namespaces_are_shown(listed: Shell) -> None:
    assert f"{NAMESPACE} " in listed.kaitoctl("status", "-A").stdout


def test_several_names_are_shown_and_a_missing_one_is_said(listed: Shell) -> None:
    assert "apple" not in status(listed, "workspace/zebra", "-o", "name")
    both = listed.kaitoctl("status", "-n", NAMESPACE, "workspace/zebra", "apple", "pear", code=4)
    assert [line.split()[0] for line in both.stdout.splitlines()] == ["NAME", "apple", "zebra"]
    assert "Workspace conventions/pear not found" in both.stderr


def test_get_takes_a_kind_and_names_as_kubectl_does(listed: Shell) -> None:
    def names(*arguments: str) -> list[str]:
        return listed.kaitoctl(*arguments, "-o", "name").stdout.split()

    every = names("get", "-n", NAMESPACE)
    assert len(every) > 1 and names("get", "workspaces", "-n", NAMESPACE) == every
    assert names("-n", NAMESPACE, "get", "wk") == every
    assert names("get", "workspaces.kaito.sh", "-n", NAMESPACE) == every
    assert names("get", "workspace", "zebra", "-n", NAMESPACE) == ["workspace.kaito.sh/zebra"]
    assert names("get", "wk", "workspace/zebra", "apple", "-n", NAMESPACE) == [
        "workspace.kaito.sh/apple",
        "workspace.kaito.sh/zebra",
    ]


@pytest.mark.parametrize("names", [(), ("zebra",), ("apple", "zebra")])
def test_get_writes_the_objects_as_kubectl_does(listed: Shell, names: tuple[str, ...]) -> None:
    where = ("-n", NAMESPACE)
    kubectls = json.loads(listed.kubectl("get", "workspaces", *names, *where, "-o", "json"))
    for output in ("json", "yaml"):
        written = yaml.safe_load(listed.kaitoctl("get", "wk", *names, *where, "-o", output).stdout)
        assert written.get("items", written) == kubectls.get("items", kubectls)
        assert (written["kind"], written["apiVersion"]) == (kubectls["kind"], kubectls["apiVersion"])
    template = "jsonpath={..metadata.name}"
    asked = ("workspaces", *names, *where, "-o", template)
    assert listed.kaitoctl("get", *asked).stdout == listed.kubectl("get", *asked)


def test_what_get_writes_can_be_applied_and_what_status_writes_is_named(listed: Shell) -> None:
    where = ("-n", NAMESPACE)
    (listed.home / "got.yaml").write_text(listed.kaitoctl("get", "zebra", *where, "-o", "yaml").stdout)
    assert (
        "zebra unchanged" in listed.kaitoctl("apply", "-f", "got.yaml", "--yes", "--no-wait", *where).stdout
    )
    for output in ("json", "yaml"):
        (listed.home / "got.yaml").write_text(status(listed, "zebra", "-o", output))
        for command in ("apply", "plan"):
            said = listed.kaitoctl(command, "-f", "got.yaml", *where, code=2).stderr
            assert "got.yaml is what `status` writes, not the object" in said
            assert f"kaitoctl get zebra -n {NAMESPACE} -o yaml" in said
    (listed.home / "got.yaml").write_text(status(listed, "-o", "json"))
    assert "kaitoctl get -o yaml" in listed.kaitoctl("apply", "-f", "got.yaml", code=2).stderr


def test_get_has_no_objects_of_names_that_nothing_has_and_streams_none(listed: Shell) -> None:
    where = ("-n", NAMESPACE)
    done = listed.kaitoctl("get", "zebra", "nobody", *where, "-o", "json", code=4)
    assert [item["metadata"]["name"] for item in json.loads(done.stdout)["items"]] == ["zebra"]
    assert "Workspace conventions/nobody not found" in done.stderr
    followed = listed.kaitoctl("get", "zebra", *where, "-w", "-o", "json", code=2).stderr
    assert f"kaitoctl status zebra -n {NAMESPACE} -w -o json" in followed


@pytest.mark.parametrize(
    ("kind", "command"),
    [("pods", "kubectl get pods -n conventions"), ("nodes", "kaitoctl nodes"), ("events", "kaitoctl events")],
)
def test_a_kind_that_is_not_ours_is_pointed_to(listed: Shell, kind: str, command: str) -> None:
    assert command in listed.kaitoctl("get", kind, "-n", NAMESPACE, code=4).stderr


def test_several_names_are_explained_and_a_missing_one_is_said(listed: Shell) -> None:
    where = ("-n", NAMESPACE)
    code = listed.run(str(BIN / "kaitoctl"), "why", "apple", *where).returncode
    both = listed.kaitoctl("why", "zebra", "workspace/apple", "zebra", *where, "-o", "json", code=code)
    assert [one["workspace"] for one in json.loads(both.stdout)["workspaces"]] == [
        f"{NAMESPACE}/zebra",
        f"{NAMESPACE}/apple",
    ]
    short = listed.kaitoctl("why", "zebra", "pear", "apple", *where, "-o", "short", code=4)
    assert [line.split(":")[0] for line in short.stdout.splitlines()] == ["zebra", "apple"]
    assert "Workspace conventions/pear not found" in short.stderr


def test_events_of_several_names_are_in_one_order_and_each_is_there_once(listed: Shell) -> None:
    def events(*names: str, code: int = 0) -> list[Any]:
        done = listed.kaitoctl("events", *names, "-n", NAMESPACE, "-o", "json", code=code)
        return list(json.loads(done.stdout)["events"])

    deadline = time.monotonic() + 60
    while not (events("zebra") and events("apple")):
        assert time.monotonic() < deadline, "no events"
        time.sleep(0.2)
    both = events("zebra", "apple", "pear", code=4)
    about = {event["object"] for event in both}
    assert {"Workspace zebra", "Workspace apple"} <= about
    assert [event["time"] for event in both] == sorted(event["time"] for event in both)


def test_several_are_restarted_one_after_the_other_and_none_where_one_cannot_be(listed: Shell) -> None:
    for name in ("first-one", "second-one"):
        options = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "--label", f"apps={name}")
        listed.kaitoctl("create", "workspace", name, *options, "-n", NAMESPACE)
    both = ("restart", "first-one", "workspace/second-one", "--yes", "-n", NAMESPACE)
    refused = listed.kaitoctl(*both, "pear", code=4)
    assert not refused.stdout, "nothing is restarted when a name is wrong"
    done = listed.kaitoctl(*both)
    assert done.stdout.split()[::2] == ["workspace.kaito.sh/first-one", "workspace.kaito.sh/second-one"]
    late = listed.kaitoctl(*both, "--timeout", "0.01s", code=124)
    assert late.stdout == "workspace.kaito.sh/first-one restarted\n"
    said = " ".join(late.stderr.split())
    assert f"; not restarted: Workspace {NAMESPACE}/second-one" in said
    assert f"kaitoctl restart second-one -n {NAMESPACE} continues where this stopped" in said


def test_several_are_deleted_at_once_and_logs_are_of_one(listed: Shell) -> None:
    where = ("-n", NAMESPACE)
    for name in ("third-one", "fourth-one"):
        options = ("--preset", "falcon-7b", "--instance-type", "Standard_NC12s_v3", "--label", f"apps={name}")
        listed.kaitoctl("create", "workspace", name, *options, *where)
    assert "Serving on port" in listed.kaitoctl("logs", "workspace/third-one", *where).stdout
    listed.kaitoctl("logs", "third-one", "fourth-one", *where, code=2)
    gone = listed.kaitoctl("delete", "workspace/third-one", "fourth-one", "--yes", *where).stdout
    assert gone.split()[::2] == ["workspace.kaito.sh/third-one", "workspace.kaito.sh/fourth-one"]


def test_colours_are_forced_and_forbidden_by_the_environment(offline: Shell) -> None:
    def seen(**env: str) -> bool:
        command = ("models", "describe", "phi-4", "-o", "yaml")
        return "\x1b[" in offline.run(str(BIN / "kaitoctl"), *command, **env).stdout

    assert seen(FORCE_COLOR="1")
    assert not seen()
    assert not seen(FORCE_COLOR="1", NO_COLOR="1")


# --- before and after the command --------------------------------------------------------------------------


def test_options_of_every_command_stand_before_it_or_after_it(listed: Shell) -> None:
    after = status(listed, "-o", "name")
    assert listed.kaitoctl("-n", NAMESPACE, "status", "-o=name").stdout == after
    assert listed.kaitoctl(f"--namespace={NAMESPACE}", "-q", "status", "-oname").stdout == after
    assert "KW121" in listed.kaitoctl("--context", "nobody", "explain", "KW121").stdout


def test_every_command_has_them_on_one_page(offline: Shell) -> None:
    page = offline.kaitoctl("options").stdout
    for option in ("--as", "--as-group", "--token", "-s, --server", "--cluster", "--user", "-v, --v"):
        assert option in page
    assert "kaitoctl options" in offline.kaitoctl("status", "-h").stdout


def test_v_6_says_each_request_with_status_and_time_and_no_secret(listed: Shell) -> None:
    done = listed.kaitoctl("-v", "6", "status", "-n", NAMESPACE)
    assert re.search(
        r"^GET /apis/kaito.sh/\S+/workspaces\?limit=500 200 in \d+ ms$", done.stderr, re.MULTILINE
    )
    token = yaml.safe_load(Path(listed.kubeconfig).read_text())["users"][0]["user"].get("token")
    assert token and token not in done.stderr
    assert "GET" not in listed.kaitoctl("-v=2", "status", "-n", NAMESPACE).stderr
    assert "\nGET /apis/kaito.sh" in listed.kaitoctl("status", "-n", NAMESPACE, "-v").stderr


def test_q_leaves_results_warnings_and_errors(offline: Shell) -> None:
    assert "Standard_NC12s_v3" in offline.kaitoctl("-q", "fit", "falcon-7b", "-o", "name").stdout
    assert offline.kaitoctl("config", "view").stderr.startswith("►")
    assert offline.kaitoctl("-q", "config", "view").stderr == ""
    gated = ("create", "workspace", "w", "--preset", "llama-3.3-70b-instruct", "--dry-run", "client")
    kept = offline.kaitoctl("-q", *gated, "--instance-type", "Standard_NC24ads_A100_v4", "-o", "name").stderr
    assert kept.startswith("! ") and "is gated" in kept
    assert "error:" in offline.kaitoctl("-q", "explain", "nonsense", code=2).stderr


@pytest.mark.parametrize(
    "verb",
    ["get", "describe", "edit", "scale", "wait", "top", "run", "expose", "patch", "replace", "label",
     "annotate", "list"],
)  # fmt: skip
def test_verbs_of_kubectl_name_the_command_here(offline: Shell, verb: str) -> None:
    from kaitoctl.cli.app import _COMMANDS

    if verb in _COMMANDS:
        offline.kaitoctl(verb, "-h")
    else:
        said = offline.kaitoctl(verb, "falcon", code=2).stderr
        named = re.findall(r"`kaitoctl ([a-z]+)", said)
        assert named and set(named) <= _COMMANDS.keys()


# --- whom we ask, and as whom ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("place")) as found:
        yield found


@pytest.fixture(scope="module")
def kubeconfig(here: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "none", "user": "file"}}],
        "clusters": [
            {"name": "none", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority": here.ca}},
            {"name": "echo", "cluster": {"server": here.server, "certificate-authority": here.ca}},
            {"name": "stranger", "cluster": {
                "server": here.server, "certificate-authority": str(here.stranger.certificate)}},
        ],
        "users": [
            {"name": "file", "user": {"token": "of-the-file"}},
            {"name": "other", "user": {"token": "of-another"}},
            {"name": "basic", "user": {"username": "me", "password": "s3cret"}},
        ],
    }  # fmt: skip
    file = tmp_path_factory.mktemp("config") / "config"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(config))
    return file


WHOM = [
    ["--cluster", "echo"],
    ["--cluster", "echo", "--user", "other"],
    ["--cluster", "echo", "--token", "typed"],
    ["--cluster", "echo", "--as", "alice", "--as-group", "dev", "--as-group", "ops"],
    ["--cluster", "echo", "--as", "alice", "--as-uid", "7"],
    ["--cluster", "echo", "--as-group", "dev"],
    ["--server", "{server}"],
    ["--server", "{server}", "--insecure-skip-tls-verify"],
    ["--cluster", "stranger"],
    ["--cluster", "stranger", "--insecure-skip-tls-verify"],
    ["--cluster", "stranger", "--certificate-authority", "{ca}"],
    ["--cluster", "echo", "--client-certificate", "{certificate}", "--client-key", "{key}"],
    ["--cluster", "echo", "--tls-server-name", "localhost"],
    ["--cluster", "echo", "--tls-server-name", "elsewhere.example"],
    ["--cluster", "nothing"],
    ["--cluster", "echo", "--user", "nobody"],
]


@pytest.mark.parametrize("options", WHOM, ids=" ".join)
def test_who_asks_whom_is_what_kubectl_makes_of_the_same_options(
    here: Place, kubeconfig: Path, options: list[str]
) -> None:
    values = {"server": here.server, "ca": here.ca, "certificate": here.me.certificate, "key": here.me.key}
    given = [option.format(**values) for option in options]
    env = {"PATH": os.environ["PATH"], "HOME": str(kubeconfig.parent), "KUBECONFIG": str(kubeconfig)}
    theirs = subprocess.run(
        [BIN / "kubectl", "get", "--raw", "/echo", *given],
        capture_output=True,
        text=True,
        env=env,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )
    ours = subprocess.run(
        [sys.executable, "-c", _ECHO, *given],
        capture_output=True,
        text=True,
        env=env,
        check=False,
        timeout=60,
    )
    assert (ours.returncode == 0) == (theirs.returncode == 0), ours.stderr + theirs.stderr
    if theirs.returncode == 0:
        assert json.loads(ours.stdout) == json.loads(theirs.stdout)
    assert "s3cret" not in ours.stderr


# The options of a real command, and one request by what they came to.
_ECHO = """
import asyncio, sys
from kaitoctl.cli import app
from kaitoctl.commands import invocation, version
from kaitoctl.kube.client import connect

def asked(**_):
    async def story():
        async with connect(given=invocation.overrides()) as client:
            print(await client.text("/echo"))
    asyncio.run(story())
    return 0

version.version = asked
sys.argv = ["kaitoctl", *sys.argv[1:], "version"]
app.main()
"""


def test_a_server_alone_needs_no_kubeconfig(
    here: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    given = Overrides(cluster={"server": here.server, "certificate-authority": here.ca}, user={"token": "t"})

    async def story() -> str:
        async with connect(given=given) as client:
            return await client.text("/echo")

    assert "Bearer t" in asyncio.run(story())


def test_a_server_alone_that_wants_to_know_who_asks_is_told_by_options(offline: Shell) -> None:
    said = offline.kaitoctl("status", "--server", "https://127.0.0.1:1", code=2).stderr
    assert "error: --server https://127.0.0.1:1: its user has no credentials" in said
    assert "--token" in said and "None" not in said


def test_a_server_that_says_nothing_is_named_and_given_up(offline: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        options = ("--server", address, "--token", "s3cret", "--request-timeout", "3s")
        said = offline.kaitoctl("status", *options, code=3).stderr
    assert f"waiting for {address} ..." in said
    assert f"error: cannot reach the API server {address}: no answer in time" in said
    assert "s3cret" not in said


WRONG = {
    "statsu": "did you mean 'status'",
    "wait falcon": "here it is `kaitoctl rollout status NAME --timeout DURATION`",
    "status --nmaespace x": "--namespace",
    "logs": "Usage: kaitoctl logs [OPTIONS] NAME",
    "fit --max-nodes none x": "'--max-nodes'",
    "status -o": "'-o' requires an argument",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_mistyped_command_line_is_said_as_any_bad_input_and_no_word_is_broken(
    offline: Shell, line: str
) -> None:
    code, text = offline.seen(*line.split(), columns=50, NO_COLOR="1")
    assert code == 2
    assert text.startswith("error: ")
    assert all(len(shown) <= 50 for shown in text.splitlines())
    assert WRONG[line] in " ".join(text.split())


def test_a_file_without_what_is_applied_is_named(sandbox_shell: Shell) -> None:
    (sandbox_shell.home / "other.yaml").write_text("a: b\n")
    said = sandbox_shell.kaitoctl("apply", "-f", "other.yaml", code=2).stderr
    assert said.startswith("error: other.yaml: there is no Workspace")
    assert "but an object without kind" in said


def test_a_group_without_a_command_shows_its_help(offline: Shell) -> None:
    assert "Commands:" in offline.kaitoctl("sandbox", "node", code=2).stderr


def test_advice_reaches_the_same_server_as_the_same_person_and_shows_no_token() -> None:
    from kaitoctl.advice import Command
    from kaitoctl.commands.target import Target

    invocation.begin()
    try:
        for name, value in (("server", "https://a b"), ("token", "s3cret"), ("as_group", ["x", "y"])):
            invocation.keep(name, value)
        said = Target().text(Command("kubectl get pods"))
    finally:
        invocation.begin()
    assert said == """kubectl get pods --server 'https://a b' --token "$TOKEN" --as-group x --as-group y"""


# --- settings ----------------------------------------------------------------------------------------------


def config(shell: Shell, text: str) -> None:
    folder = shell.home / ".config" / "kaitoctl"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(text)


def test_a_file_has_defaults_for_options(offline: Shell) -> None:
    config(offline, "defaults: {target-version: v0.12}\ncommands: {skus list: {output: name}}\n")
    names = offline.kaitoctl("skus", "list").stdout
    assert " " not in names and "Standard_NC12s_v3" not in names.split()  # KAITO v0.12 does not know it
    assert "Standard_NC12s_v3" in offline.kaitoctl("skus", "list", "--target-version", "v0.4").stdout.split()
    assert "INSTANCE TYPE" in offline.kaitoctl("skus", "list", "-o", "table").stdout
    shown = yaml.safe_load(offline.kaitoctl("config", "view").stdout)
    assert shown["commands"] == {"skus list": {"output": "name"}}


def test_what_is_typed_counts_before_the_environment_and_that_before_the_file(offline: Shell) -> None:
    for name in ("file", "variable", "typed"):
        rack = f"instance_types:\n- {{name: rack-{name}, gpus: 1, gpu_memory_gib: 24}}\n"
        (offline.home / f"{name}.yaml").write_text(rack)
    config(offline, f"defaults: {{catalog: {offline.home}/file.yaml, cloud: own}}\n")
    names = ("skus", "list", "-o", "name")
    variable = f"{offline.home}/variable.yaml"
    assert offline.kaitoctl(*names).stdout == "rack-file\n"
    assert offline.kaitoctl(*names, KAITOCTL_CATALOG=variable).stdout == "rack-variable\n"
    typed = offline.kaitoctl(*names, "--catalog", f"{offline.home}/typed.yaml", KAITOCTL_CATALOG=variable)
    assert typed.stdout == "rack-typed\n"


def test_the_file_is_where_the_environment_says(offline: Shell) -> None:
    config(offline, "commands: {skus list: {output: json}}\n")
    (offline.home / "xdg" / "kaitoctl").mkdir(parents=True)
    (offline.home / "xdg" / "kaitoctl" / "config.yaml").write_text("commands: {skus list: {output: name}}\n")
    (offline.home / "named.yaml").write_text("commands: {skus list: {output: yaml}}\n")
    xdg, named = {"XDG_CONFIG_HOME": f"{offline.home}/xdg"}, {"KAITOCTL_CONFIG": f"{offline.home}/named.yaml"}

    def begins(**env: Any) -> str:
        return offline.kaitoctl("skus", "list", **env).stdout.split()[0]

    assert (begins(), begins(**xdg), begins(**xdg, **named)) == ("{", "Standard_NC6", "instance_types:")


@pytest.mark.parametrize(
    "text",
    [
        "defaults: {yes: true}",
        "defaults: {token: x}",
        "defaults: {force-conflicts: true}",
        "commands: {apply: {filename: x.yaml}}",
        "commands: {skus list: {nonsense: 1}}",
        "commands: {statsu: {output: name}}",
        "defaults: {outptu: name}",
        "x: 1",
        "- a",
        "a: [",
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_refused_by_path_and_cause(offline: Shell, text: str) -> None:
    config(offline, text)
    done = offline.kaitoctl("skus", "list", code=2)
    assert "config.yaml" in done.stderr and done.stdout == ""


def test_version_knows_both_sides_and_whether_they_go_together(listed: Shell) -> None:
    found = json.loads(listed.kaitoctl("version", "-o", "json").stdout)
    assert found["client"]["version"] and found["server"]["version"].startswith("v1.")
    assert "v1alpha1" in found["crd"]["versions"]
    assert found["skew"] == []
    assert json.loads(listed.kaitoctl("version", "--client", "-o", "json").stdout) == {
        "client": found["client"]
    }


@pytest.mark.parametrize(
    ("server", "crd", "controllers", "words"),
    [
        ("v1.19.3", ["v1beta1"], [], "older than 1.22"),
        ("v1.99.0", ["v1beta1"], [], "newer than 1.37"),
        ("v1.37.0", ["v9"], [], "kaitoctl supports"),
        ("v1.37.0", ["v1beta1"], [{"kind": "kaitoctl", "version": "0.0.1"}], "update the older one"),
    ],
)
def test_what_does_not_go_together_is_said(
    server: str, crd: list[str], controllers: list[dict[str, str]], words: str
) -> None:
    from kaitoctl.commands.version import _skew

    found = {"server": {"version": server}, "crd": {"versions": crd}, "controllers": controllers}
    assert [said for said in _skew(found) if words in said]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_prints_the_script_of_a_shell(offline: Shell, shell: str) -> None:
    script = offline.kaitoctl("completion", shell).stdout
    assert "_KAITOCTL_COMPLETE" in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def completed(shell: Shell, line: str) -> list[str]:
    done = shell.run(
        str(BIN / "kaitoctl"),
        _KAITOCTL_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(len(line.split()) if line.endswith(" ") else len(line.split()) - 1),
    )
    return done.stdout.split()


VALUES = {
    "kaitoctl status -o j": ["json", "jsonpath="],
    "kaitoctl create workspace x --dry-run c": ["client"],
    "kaitoctl skus list --cloud a": ["azure", "aws", "arc"],
    "kaitoctl fit phi-4 --target-version v0.4": ["v0.4"],
    "kaitoctl completion z": ["zsh"],
    "kaitoctl template show cu": ["custom-pod"],
    "kaitoctl sandbox node break n --how no": ["not-ready"],
    "kaitoctl upgrade plan --to v": ["v0.12"],
}


@pytest.mark.parametrize("line", VALUES)
def test_values_of_options_are_completed(offline: Shell, line: str) -> None:
    assert completed(offline, line) == VALUES[line]


# --- the page ----------------------------------------------------------------------------------------------


def test_each_row_of_the_page_names_tests_that_exist() -> None:
    """In this file, or in one that the row names."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 37
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        files = [
            Path(__file__),
            *(PAGE.parent.parent / path for path in re.findall(r"\((tests/\S+?\.py)\)", row)),
        ]
        texts = [file.read_text() for file in files]
        for name in named:
            assert any(f"def {name}(" in text for text in texts), f"{name} is not in {files}"
        for text in texts[1:]:
            assert any(f"def {name}(" in text for name in named), f"a file that is not needed: {row}"
