from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import template_compiler
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import JSON, TEXT

from kaitoctl import packaged
from kaitoctl.advice import text
from kaitoctl.errors import InputError
from kaitoctl.kaito import compiled_inference_template, manifest, template_rendering, templates, validation
from kaitoctl.kaito.manifest import Adapter, WorkspaceRequest
from kaitoctl.kaito.template_variables import set_values


def request_for(**changes: Any) -> WorkspaceRequest:
    base: dict[str, Any] = {
        "name": "falcon",
        "namespace": "default",
        "preset": "falcon-7b",
        "instance_type": "Standard_NC12s_v3",
        "labels": {"apps": "falcon"},
    }
    return WorkspaceRequest(**{**base, **changes})


def render(template: str, **values: Any) -> Any:
    return template_rendering.render(template, values, source="mine.j2")


def refused(template: str, **values: Any) -> str:
    with pytest.raises(InputError) as caught:
        render(template, **values)
    return caught.value.message


# --- rendering ---------------------------------------------------------------------------------------


def test_the_shipped_template_makes_the_workspace_of_the_guide() -> None:
    assert manifest.workspace(request_for()) == {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "falcon", "namespace": "default"},
        "resource": {
            "count": 1,
            "instanceType": "Standard_NC12s_v3",
            "labelSelector": {"matchLabels": {"apps": "falcon"}},
        },
        "inference": {"preset": {"name": "falcon-7b"}},
    }


def test_everything_a_request_can_say_reaches_the_workspace() -> None:
    made = manifest.workspace(
        request_for(
            count=2,
            preferred_nodes=("n1", "n2"),
            adapters=(Adapter("a", "r.io/a:1", "0.2", ("s",)), Adapter("b", "r.io/b:1")),
            private_image="r.io/model:1",
            image_pull_secrets=("pull",),
            annotations={"kaito.sh/enablelb": "True"},
        )
    )
    assert made["apiVersion"] == "kaito.sh/v1alpha1"
    assert made["metadata"]["annotations"] == {"kaito.sh/enablelb": "True"}
    assert made["resource"]["count"] == 2
    assert made["resource"]["preferredNodes"] == ["n1", "n2"]
    assert made["inference"]["preset"] == {
        "name": "falcon-7b",
        "accessMode": "private",
        "presetOptions": {"image": "r.io/model:1", "imagePullSecrets": ["pull"]},
    }
    assert made["inference"]["adapters"] == [
        {"source": {"name": "a", "image": "r.io/a:1", "imagePullSecrets": ["s"]}, "strength": "0.2"},
        {"source": {"name": "b", "image": "r.io/b:1"}, "strength": "1.0"},
    ]


@given(
    name=TEXT.filter(bool),
    labels=st.dictionaries(TEXT, TEXT, min_size=1, max_size=3),
    adapters=st.lists(st.builds(Adapter, TEXT, TEXT, TEXT, st.just(())), max_size=2),
    annotations=st.dictionaries(TEXT, TEXT, min_size=1, max_size=2),
    instance_type=TEXT.filter(bool),
)
@settings(max_examples=150, deadline=None)
def test_no_value_changes_the_shape_and_every_leaf_is_its_value(
    name: str,
    labels: dict[str, str],
    adapters: list[Adapter],
    annotations: dict[str, str],
    instance_type: str,
) -> None:
    made = manifest.workspace(
        request_for(
            name=name,
            namespace=name,
            preset=name,
            labels=labels,
            adapters=tuple(adapters),
            annotations=annotations,
            instance_type=instance_type,
        ),
        templates.text_of("inference")[0],
    )
    inference: dict[str, Any] = {"preset": {"name": name}}
    if adapters:
        inference["adapters"] = [
            {"source": {"name": a.name, "image": a.image}, "strength": a.strength} for a in adapters
        ]
    assert made == {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": name, "annotations": annotations},
        "resource": {"count": 1, "instanceType": instance_type, "labelSelector": {"matchLabels": labels}},
        "inference": inference,
    }


@given(
    st.builds(
        WorkspaceRequest,
        TEXT,
        TEXT,
        TEXT,
        instance_type=st.none() | TEXT,
        count=st.integers(-1, 3),
        labels=st.dictionaries(TEXT, TEXT, max_size=2),
        preferred_nodes=st.lists(TEXT, max_size=2).map(tuple),
        adapters=st.lists(
            st.builds(Adapter, TEXT, TEXT, TEXT, st.lists(TEXT, max_size=2).map(tuple)), max_size=2
        ).map(tuple),
        image_pull_secrets=st.lists(TEXT, max_size=2).map(tuple),
        private_image=st.none() | TEXT,
        api_version=st.sampled_from(["v1alpha1", "v1beta1"]),
        annotations=st.dictionaries(TEXT, TEXT, max_size=2),
    )
)
@settings(max_examples=200, deadline=None)
def test_the_compiled_template_makes_what_the_template_makes(request: WorkspaceRequest) -> None:
    def made(text: str | None) -> str:
        try:
            return json.dumps(manifest.workspace(request, text, source="shipped template inference"))
        except InputError as error:
            return str(error)

    assert made(None) == made(templates.text_of("inference")[0])


HOSTILE_TEMPLATE = """\
plain: {{ v }}
single: '{{ v }}'
double: "{{ v }}"
inside: x{{ v }}y
list: [{{ v }}, '{{ v }}']
map: {k: {{ v }}}
block: |-
  a {{ v }}
  b
folded: >-
  {{ v }}
{{ k }}: key
# {{ v }}
"""


def test_the_compiled_template_is_that_of_the_shipped_one(pytestconfig: pytest.Config) -> None:
    text = template_compiler.compiled(templates.text_of("inference")[0])
    file = Path(compiled_inference_template.__file__)
    if pytestconfig.getoption("--update-golden"):
        file.write_text(text)
    assert file.read_text() == text, "pytest --update-golden tests/pure/test_manifest.py compiles it"


def test_an_edited_default_template_changes_what_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "templates"
    shutil.copytree(packaged.folder("templates"), folder)
    edited = (
        (folder / "inference.yaml.j2").read_text().replace("  name: {{ name }}", "  name: {{ name }}-x", 1)
    )
    (folder / "inference.yaml.j2").write_text(edited)
    monkeypatch.setattr(packaged, "folder", lambda name: tmp_path / name)
    assert manifest.workspace(WorkspaceRequest("w", "", "falcon-7b"))["metadata"] == {"name": "w-x"}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("  extra: {{ instance_type }}", "T"),
        ("  extra: 3", 3),
        ('  extra: "3"', "3"),
        ("  extra: a-{{ preset }}", "a-falcon-7b"),
        ("{% if not namespace or count == 2 %}\n  extra: spot\n{% endif %}", "spot"),
        ("  extra:\n{% for one in preferred_nodes %}\n    - node: {{ one }}\n{% endfor %}", [{"node": "n"}]),
    ],
)
def test_an_edited_template_compiles_to_what_it_renders_to(line: str, value: object) -> None:
    source = f"name: {{{{ name }}}}\nmore:\n  first: 1\n{line}\n"
    values = manifest.values_of(
        WorkspaceRequest("w", "", "falcon-7b", instance_type="T", preferred_nodes=("n",))
    )
    module: dict[str, Any] = {}
    exec(template_compiler.compiled(source), module)
    assert module["build"](values) == template_rendering.render(source, values, source="s")
    assert module["build"](values)["more"]["extra"] == value


@pytest.mark.parametrize(
    "line", ["{% macro a() %}", "a: {{ name | upper }}", "a: {{ name[0] }}", "- a", "  b: 1"]
)
def test_what_the_compiler_does_not_know_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"compiler|nothing below"):
        template_compiler.compiled(f"name: {{{{ name }}}}\n{line}\n")


@given(v=TEXT, k=TEXT.map(lambda text: f"k-{text}"))
@settings(max_examples=150, deadline=None)
def test_whatever_quotes_a_template_puts_around_it_a_text_stays_that_text(v: str, k: str) -> None:
    assert render(HOSTILE_TEMPLATE, v=v, k=k) == {
        "plain": v,
        "single": v,
        "double": v,
        "inside": f"x{v}y",
        "list": [v, v],
        "map": {"k": v},
        "block": f"a {v}\nb",
        "folded": v,
        k: "key",
    }


@given(v=JSON)
@settings(max_examples=100, deadline=None)
def test_an_unquoted_value_keeps_its_type(v: Any) -> None:
    assert render("a: {{ v }}\nb: [{{ v }}]\nc: {{ v | tojson }}", v=v) == {"a": v, "b": [v], "c": v}


def test_a_quoted_value_becomes_text() -> None:
    assert render("a: '{{ n }}'\nb: v{{ n }}\nc: \"{{ t }}\"", n=2, t=True) == {
        "a": "2",
        "b": "v2",
        "c": "true",
    }


def test_tojson_in_quotes_is_json_text() -> None:
    assert json.loads(render("a: '{{ m | tojson }}'", m={"x": [1]})["a"]) == {"x": [1]}


@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_a_value_without_a_text_form_is_refused_inside_a_text(value: Any) -> None:
    assert "inside a text or in quotes" in refused("a: x{{ v }}", v=value)
    assert "inside a text or in quotes" in refused("a: '{{ v }}'", v=value)
    assert "inside a text or in quotes" in refused("{{ v }}: a", v=value)


@pytest.mark.parametrize(
    "template",
    [
        "{% macro m(x) %}{{ x }}{% endmacro %}\na: {{ m(v) }}",
        "{% set x %}{{ v }}{% endset %}\na: {{ x | truncate(3) }}",
        "{% filter upper %}a: {{ v }}{% endfilter %}",
        "{% for x in v recursive %}{{ loop([]) }}{% endfor %}",
        "{% block b %}a: 1{% endblock %}\n{{ self.b() }}",
        "{% import 'inference.yaml.j2' as t with context %}a: {{ t | string }}",
    ],
)
def test_a_template_cannot_get_hold_of_what_it_printed(template: str) -> None:
    assert "do not work here" in refused(template, v=["x"])


def test_a_template_can_compute() -> None:
    template = (
        "{% set full = 'ws-' ~ v %}\na: {{ full | upper }}\nb: {{ [full, n + 1] }}\nc: {{ v | default('x') }}"
    )
    assert render(template, v="x: y", n=1) == {"a": "WS-X: Y", "b": ["ws-x: y", 2], "c": "x: y"}


def test_two_keys_that_values_make_equal_are_refused() -> None:
    assert "'same' stands twice" in refused("{{ a }}: 1\n{{ b }}: 2", a="same", b="same")


def test_values_are_copied() -> None:
    labels = {"apps": "x"}
    made = render("a: {{ v }}\nb: {{ v }}", v=labels)
    made["a"]["apps"] = "changed"
    assert labels == {"apps": "x"} == made["b"]


@pytest.mark.parametrize(
    ("template", "where", "what"),
    [
        ("a: 1\nb: {{ nothing }}", "mine.j2:2:", "'nothing' is undefined"),
        ("a: {{ v.deeper.still }}", "mine.j2:1:", "deeper"),
        ("a: 1\n\n{% if %}", "mine.j2:3:", "Expected an expression"),
        ("a: 1\nb: {{ 1 / 0 }}", "mine.j2:2:", "ZeroDivisionError"),
        ("a: 1\nb: {{ fail('say so') }}", "mine.j2:2:", "say so"),
        ("a: {{ v.__class__ }}", "mine.j2:1:", "unsafe"),
        ("a: {{ ''.__class__.__mro__ }}", "mine.j2:1:", "unsafe"),
        ("a: {{ v.update({}) }}", "mine.j2:1:", "unsafe"),
        ("a: {{ range }}", "mine.j2:1:", "not plain data"),
        ("a: {{ v | map('upper') }}", "mine.j2:1:", "not plain data"),
        ("a: {{ 'x' * 1000000000 }}", "mine.j2:1:", "too large"),
        ("a: {{ 9 ** 9 ** 9 ** 99 }}", "mine.j2:1:", "too large"),
        ("{% include '../../etc/passwd' %}", "mine.j2:1:", "no template"),
        ("{% include 'tuning.yaml.j2' %}", "shipped template tuning:", "undefined"),
        ("a: [1, }", "mine.j2: line 1 of what it renders to:", "expected"),
        ("a: 1\na: 2", "mine.j2: line 2 of what it renders to:", "twice"),
        ("a: !!python/name:os.system x", "mine.j2: line 1 of what it renders to:", "tag"),
        ("a: 1\n---\nb: 2", "mine.j2:", "2 YAML documents"),
        ("", "mine.j2:", "0 YAML documents"),
        ("- 1", "mine.j2:", "a list instead of a Workspace"),
        ("x" * 1_000_001, "mine.j2:", "longer than"),
        (
            "{% for i in range(99999) %}{{ v }}{% for j in range(999) %}xxxxxxxxxxx{% endfor %}{% endfor %}",
            "mine.j2:1:",
            "more than 300,000 steps",
        ),
        ("{% for i in range(9999) %}" + "x" * 2_000 + "{% endfor %}", "mine.j2:1:", "prints more"),
        ("a: " + "{{ 1 }}" * 60_000, "mine.j2:1:", "more than 50,000 parts"),
        ("a: {{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}", "mine.j2:", "nested too deeply"),
    ],
)
def test_what_goes_wrong_names_its_place(template: str, where: str, what: str) -> None:
    message = refused(template, v={"apps": "x"})
    assert message.startswith(where)
    assert what in message


@pytest.mark.parametrize("value", [object(), {1: "x"}, math.nan, {"a": [{1}]}, b"x"])
def test_a_value_that_is_not_plain_data_is_refused(value: Any) -> None:
    refused("a: 1", v=value)


def test_more_variables_win_over_the_request_and_maps_are_merged() -> None:
    extra = set_values(["labels.tier=gpu", "count=3", "annotations.kaito\\.sh/enablelb=True"])
    made = manifest.workspace(request_for(), extra=extra)
    assert made["resource"]["labelSelector"]["matchLabels"] == {"apps": "falcon", "tier": "gpu"}
    assert made["resource"]["count"] == 3
    assert made["metadata"]["annotations"] == {"kaito.sh/enablelb": "True"}


ON_TRANSFORMERS = {"annotations": {"kaito.sh/runtime": "transformers"}}
OUTPUT = ["output_image=r.io/out:1", "output_secret=push"]

# --- shipped templates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "sets"),
    [
        ("inference", {}, []),
        (
            "inference",
            {"api_version": "v1beta1", "preset": "phi-4", "instance_type": "Standard_NC24ads_A100_v4"},
            [],
        ),
        ("inference", {"adapters": (Adapter("a", "r.io/a:1", "0.5"),), **ON_TRANSFORMERS}, []),
        (
            "inference",
            {
                "preset": "llama-2-7b",
                "private_image": "r.io/l",
                "image_pull_secrets": ("s",),
                **ON_TRANSFORMERS,
            },
            [],
        ),
        ("adapters", {"adapters": (Adapter("a", "r.io/a:1"),), **ON_TRANSFORMERS}, []),
        ("custom-pod", {}, ["image=r.io/server:1", "gpus=2", "env.A=1"]),
        ("tuning", {}, [*OUTPUT, "input_image=r.io/data:1"]),
        ("tuning", {}, [*OUTPUT, "input_urls=https://x.io/d", "method=lora"]),
    ],
)
def test_every_shipped_template_makes_a_workspace_without_fault(
    name: str, changes: dict[str, Any], sets: list[str]
) -> None:
    text, source = templates.text_of(name)
    made = manifest.workspace(request_for(**changes), text, set_values(sets), source=source)
    assert validation.judge(made) == []


def test_all_shipped_templates_are_tested_here() -> None:
    # private-image: see test_templates; inference-set: see tests/cli/test_fleets
    shipped = ["adapters", "custom-pod", "inference", "inference-set", "private-image", "tuning"]
    assert templates.names() == shipped


def test_the_adapters_template_insists_on_adapters() -> None:
    text, source = templates.text_of("adapters")
    with pytest.raises(InputError, match="at least one adapter"):
        manifest.workspace(request_for(), text, source=source)


def test_a_template_is_a_shipped_name_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.j2").write_text("a: 1")
    (tmp_path / "bare").write_text("b: 1")
    (tmp_path / "inference").mkdir()
    assert templates.text_of("mine.j2") == ("a: 1", "mine.j2")
    assert templates.text_of(str(tmp_path / "mine.j2"))[0] == "a: 1"
    assert templates.text_of("bare")[0] == "b: 1"
    assert "kind: Workspace" in templates.text_of("inference")[0]


@pytest.mark.parametrize("name", ["nope", "", "nope.yaml", "./nope", "../inference", "a\0b"])
def test_a_template_that_is_not_there_is_an_input_error(name: str) -> None:
    with pytest.raises(InputError):
        templates.text_of(name)


def test_an_unknown_template_lists_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        templates.text_of("infrence")
    assert "inference" in caught.value.hint
    (tmp_path / "latin.j2").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        templates.text_of(str(tmp_path / "latin.j2"))


# --- small grammars ------------------------------------------------------------------------------------


def test_an_adapter_is_written_on_one_line() -> None:
    assert Adapter.parse("a=r.io/x:1") == Adapter("a", "r.io/x:1", "1.0", ())
    assert Adapter.parse("a=r.io/x@sha256:0,strength=0.2,pull-secret=p,pull-secret=q") == Adapter(
        "a", "r.io/x@sha256:0", "0.2", ("p", "q")
    )


@pytest.mark.parametrize(
    "text",
    ["", "a", "=x", "a=", "a=x,", "a=x,strength", "a=x,strength=", "a=x,strength=1,strength=1", "a=x,size=3"],
)
def test_a_malformed_adapter_is_shown_with_the_grammar(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Adapter.parse(text)
    assert repr(text) in caught.value.message
    assert "name=image" in caught.value.hint


def test_set_gives_types_to_numbers_and_words() -> None:
    assert set_values(["a=1", "b.c=-2", "b.d=true", "e=null", "f=1.5", "g=", "h=True", "i=01", "j=a=b"]) == {
        "a": 1,
        "b": {"c": -2, "d": True},
        "e": None,
        "f": "1.5",
        "g": "",
        "h": "True",
        "i": "01",
        "j": "a=b",
    }


@pytest.mark.parametrize("items", [["a"], ["=1"], ["a..b=1"], [".a=1"], ["a=1", "a.b=2"], ["a.b=2", "a=1"]])
def test_a_malformed_set_is_named(items: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        set_values(items)
    assert repr(items[-1]) in caught.value.message


@pytest.mark.parametrize(
    "expression",
    [
        "'%999999999d' % 1",
        "'%999999999d' | format(1)",
        "'a' | center(10**9)",
        "'a' | indent(10**9)",
        "'a' * 10**9",
        "9 ** (9 ** 9)",
        "lipsum(n=100000)",
        "range(10**9) | list",
        "'{:>999999999}'.format(1)",
        "'x'.ljust(10**9)",
        "'x'.zfill(10**9)",
        "'\\t'.expandtabs(10**9)",
        "(5).to_bytes(10**9, 'big')",
        "'x'" + ".replace('x', 'xxxxxxxxxx')" * 12,
        "'x'" + " | replace('x', 'xxxxxxxxxx')" * 12,
        "range(100000) | join('x' * 9999999)",
        "('x' * 1000000).join('x' * 1000000) | length",
        "range(100000) | map('string') | map('replace', '0', 'x' * 100000) | list | length",
        "([[1]] * 1000000) | sum",
        "('f' * 9999999) | int(0, 16)",
        "['{:>999999999}'] | map(attribute='format') | list",
        "[1] | batch(10**9, 'x') | list",
    ],
)
def test_expressions_that_would_fill_the_memory_are_refused(expression: str) -> None:
    with pytest.raises(InputError, match="t:1"):
        template_rendering.render("a: {{ " + expression + " }}", {}, source="t")


GROWING = [
    "ns.a ~ ns.a",
    "ns.a + ns.a",
    "[ns.a, ns.a]",
    "(ns.a, ns.a)",
    "{'x': ns.a, 'y': ns.a}",
    "dict(x=ns.a, y=ns.a)",
    "ns.a | list + [ns.a, ns.a]",
]


@pytest.mark.parametrize("expression", GROWING)
def test_what_doubles_in_a_loop_is_refused(expression: str) -> None:
    step = f"{{% set ns.a = {expression} %}}"
    template = f"{{% set ns = namespace(a='x') %}}{{% for i in range(90) %}}{step}{{% endfor %}}a: 1"
    with pytest.raises(InputError, match="t:1: it makes too much"):
        template_rendering.render(template, {}, source="t")


LARGE = [
    "'ab' in a",
    "a.find('ab')",
    "a == b",
    "a is upper",
    "a[1:]",
    "a | upper",
    "a.split('a')",
    "a | trim",
]


@pytest.mark.parametrize("expression", LARGE)
def test_what_looks_at_a_large_value_again_and_again_is_refused(expression: str) -> None:
    template = (
        "{% set a = 'a' * 999999 %}{% set b = 'a' * 999999 %}"
        f"{{% for i in range(90000) %}}{{% set x = {expression} %}}{{% endfor %}}a: 1"
    )
    with pytest.raises(InputError, match="t:1: it makes too much"):
        template_rendering.render(template, {}, source="t")


def test_loops_without_end_are_refused_included_templates_among_them() -> None:
    loops = "{% for i in range(99999) %}"
    for body in (loops * 2 + "{% endfor %}" * 2, "{% set x = i %}", "{% include 'inference.yaml.j2' %}"):
        values = {"name": "w", "api_version": "kaito.sh/v1alpha1", "namespace": None}
        with pytest.raises(InputError):
            template_rendering.render(f"{loops * 2}{body}{{% endfor %}}{{% endfor %}}", values, source="t")


JINJA = {
    "[3, 1, 2] | sort | join('-')": "1-2-3",
    "missing | default('none')": "none",
    "m.k.upper()[1:]": "AL",
    "[1, 2.5] | sum": 3.5,
    "l | sum(attribute='n')": 3,
    "2.567 | round(1)": 2.6,
    "missing is defined": False,
    "'y' if m.k is string and not missing is defined else 'n'": "y",
    "'a-b-c'.replace('-', '+', 1)": "a+b-c",
    "l[1].n + l | length": 4,
    "m | dictsort | first | first": "k",
}


@pytest.mark.parametrize(("expression", "value"), JINJA.items())
def test_expressions_mean_what_they_mean_in_jinja(expression: str, value: Any) -> None:
    values = {"m": {"k": "val"}, "l": [{"n": 1}, {"n": 2}]}
    assert template_rendering.render(f"a: {{{{ {expression} }}}}", values, source="t") == {"a": value}


def test_a_loop_knows_where_it_is() -> None:
    template = "a: {% for k, v in m | dictsort %}{{ loop.index }}/{{ loop.length }}{{ k ~ v }}{% endfor %}"
    assert template_rendering.render(template, {"m": {"x": "y", "b": "c"}}, source="t") == {"a": "1/2bc2/2xy"}


def test_a_variable_that_is_missing_comes_with_the_option_that_gives_it() -> None:
    with pytest.raises(InputError) as caught:
        template_rendering.render("a: {{ image }}", {}, source="mine.j2")
    assert text(caught.value.hint) == "give it with --set image=VALUE"
