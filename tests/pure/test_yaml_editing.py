"""A text with one object changed: what was asked for, and not a line more."""

from __future__ import annotations

import copy
import difflib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaitoctl.kube.documents import Refused, read
from kaitoctl.kube.objects import Object
from kaitoctl.kube.yaml_editing import edit_document

HEAD = """\
# who owns this: team models
apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata: {name: falcon, labels: {"app": x}}   # in one line
resource:

  instanceType: "Standard_NC12s_v3"  # two GPUs
  labelSelector:
    matchLabels:
      apps: falcon-7b
"""
INFERENCE = """\
inference:
  preset:
    name: falcon-7b
"""
ADAPTERS = """\
  # the voice of the brand
  adapters:
    # made in June
    - source:
        name: style
        image: 'registry.example/style:1'   # pinned
      strength: "0.5"  # agreed
    # made in July
    - source: {name: tone, image: "registry.example/tone:1"}
      strength: '0.2'
"""
TAIL = "\n# the end\n"


def entry(name: str, strength: str = "1.0") -> Object:
    return {"source": {"name": name, "image": f"registry.example/{name}:1"}, "strength": strength}


def with_adapters(text: str, adapters: list[Any], number: int = 0) -> str:
    document = list(read(text, "file"))[number]
    wanted = copy.deepcopy(document.obj)
    wanted["inference"].pop("adapters", None)
    if adapters:
        wanted["inference"]["adapters"] = adapters
    return edit_document(text, document, wanted)


def difference(old: str, new: str) -> list[str]:
    lines = difflib.ndiff(old.splitlines(), new.splitlines())
    return [line for line in lines if line[0] in "+-"]


STYLE = {"source": {"name": "style", "image": "registry.example/style:1"}, "strength": "0.5"}
TONE = {"source": {"name": "tone", "image": "registry.example/tone:1"}, "strength": "0.2"}
WHOLE = HEAD + INFERENCE + ADAPTERS + TAIL


def test_the_first_adapter_is_added_after_the_preset_and_nothing_else_changes() -> None:
    text = HEAD + INFERENCE + TAIL
    assert (
        with_adapters(text, [entry("style")])
        == HEAD
        + INFERENCE
        + (
            "  adapters:\n"
            "    - source:\n"
            "        name: style\n"
            "        image: registry.example/style:1\n"
            '      strength: "1.0"\n'
        )
        + TAIL
    )


def test_one_more_adapter_comes_after_the_others() -> None:
    made = with_adapters(WHOLE, [STYLE, TONE, entry("new")])
    assert difference(WHOLE, made) == [
        "+     - source:",
        "+         name: new",
        "+         image: registry.example/new:1",
        '+       strength: "1.0"',
    ]
    assert made.index("name: new") > made.index("name: tone") and made.endswith(TAIL)


def test_a_changed_strength_is_one_changed_line_with_its_quotes_and_comment() -> None:
    changed = with_adapters(WHOLE, [{**STYLE, "strength": "0.9"}, TONE])
    assert changed == WHOLE.replace('"0.5"  # agreed', '"0.9"  # agreed')
    changed = with_adapters(WHOLE, [STYLE, {**TONE, "strength": "0.9"}])
    assert changed == WHOLE.replace("'0.2'", "'0.9'")


def test_an_image_inside_a_flow_map_is_changed_in_its_place() -> None:
    other = {**TONE, "source": {"name": "tone", "image": "registry.example/tone:2"}}
    made = with_adapters(WHOLE, [STYLE, other])
    assert made == WHOLE.replace('image: "registry.example/tone:1"', '"image": "registry.example/tone:2"')


def test_a_removed_adapter_goes_with_the_comment_right_above_it() -> None:
    made = with_adapters(WHOLE, [TONE])
    assert {line[0] for line in difference(WHOLE, made)} == {"-"}
    assert "made in June" not in made and "made in July" in made and "the voice of the brand" in made
    made = with_adapters(WHOLE, [STYLE])
    assert "made in June" in made and "made in July" not in made and "tone" not in made


def test_with_the_last_adapter_the_key_goes_too() -> None:
    made = with_adapters(WHOLE, [])
    assert made == HEAD + INFERENCE + TAIL


@pytest.mark.parametrize(
    ("adapters", "line"),
    [
        ("  adapters: []  # none yet\n", "  adapters:  # none yet"),
        ("  adapters:   # none yet\n", "  adapters:   # none yet"),
        ("  adapters: ~\n", "  adapters:"),
    ],
)
def test_a_list_that_is_empty_or_nothing_becomes_one_of_lines(adapters: str, line: str) -> None:
    made = with_adapters(HEAD + INFERENCE + adapters + TAIL, [entry("style")])
    assert f"{line}\n    - source:\n" in made
    assert made.endswith(TAIL)


def test_dashes_stand_where_the_other_lists_of_the_file_have_them() -> None:
    text = HEAD + "  preferredNodes:\n  - gpu-a\n" + INFERENCE
    assert "  adapters:\n  - source:\n      name: style\n" in with_adapters(text, [entry("style")])


def test_a_list_in_one_line_stays_in_one_line() -> None:
    text = HEAD + INFERENCE + "  adapters: [{source: {name: a, image: b/a:1}, strength: '1'}]\n"
    made = with_adapters(text, [{"source": {"name": "a", "image": "b/a:1"}, "strength": "1"}, entry("style")])
    (line,) = [line for line in difference(text, made) if line[0] == "+"]
    assert line.startswith("+   adapters: [{source: {name: a, image: b/a:1}, strength: '1'}, {")


def test_the_other_documents_of_a_file_stay_to_the_letter() -> None:
    service = "apiVersion: v1\nkind:   Service # ours\nmetadata: {name: x}\n"
    text = service + "---\n" + WHOLE + "---\n" + service + "...\n"
    made = with_adapters(text, [STYLE, TONE, entry("new")], number=1)
    assert made.startswith(service + "---\n" + HEAD) and made.endswith("---\n" + service + "...\n")
    assert len(difference(text, made)) == 4


def test_windows_line_ends_and_a_missing_last_one_are_kept() -> None:
    text = (HEAD + INFERENCE).replace("\n", "\r\n").removesuffix("\r\n")
    made = with_adapters(text, [entry("style")])
    assert "\n" not in made.replace("\r\n", "") and not made.endswith("\n")


def test_json_keeps_its_order_and_indentation() -> None:
    inference = '"inference": {"preset": {"name": "phi"}}'
    text = f'{{\n    "kind": "Workspace",\n    {inference},\n    "apiVersion": "kaito.sh/v1alpha1"\n}}\n'
    made = with_adapters(text, [entry("style")])
    assert next(read(made, "x")).obj["inference"]["adapters"] == [entry("style")]
    assert made.startswith('{\n    "kind"') and made.endswith('"kaito.sh/v1alpha1"\n}\n')


def test_a_key_that_yaml_takes_for_a_number_or_a_truth_value_stays_as_it_is_written() -> None:
    text = HEAD.replace("apps: falcon-7b", "1e3: a\n      on: b") + INFERENCE
    assert difference(text, with_adapters(text, [entry("style")]))[0].startswith("+   adapters:")


def test_the_items_of_a_list_are_objects_too() -> None:
    text = "kind: List\nitems:\n- kind: Pod\n- kind: Workspace\n  inference:\n    preset: {name: phi}\n"
    made = with_adapters(text, [entry("style")], number=1)
    assert made.startswith(text) and made[len(text) :].startswith("    adapters:\n    - source:\n")


@pytest.mark.parametrize(
    "inference",
    [
        "inference: &i\n  preset: {name: phi}\nother: *i\n",
        "base: &b\n  adapters: [1]\ninference:\n  <<: *b\n  preset: {name: phi}\n",
        "inference: {preset: {name: phi}, # why\n  config: x}\n",
    ],
)
def test_what_cannot_be_edited_alone_is_refused_and_not_reformatted(inference: str) -> None:
    with pytest.raises(Refused, match="layout"):
        with_adapters(HEAD + inference, [entry("style")])


names = st.sampled_from(["a", "b", "c", "d"])
lists = st.lists(
    st.builds(entry, names, st.sampled_from(["0", "0.5", "1"])), unique_by=lambda item: item["source"]["name"]
)


def written(adapters: list[Object], dash: int, flow: bool) -> str:
    """Adapters as a person could write them."""
    lines = ["  adapters:   # all of them"] if adapters else []
    for item in adapters:
        name, image, strength = item["source"]["name"], item["source"]["image"], item["strength"]
        source = f"source: {{name: {name}, image: '{image}'}}"
        spread = f'- source:\n    name: {name} # its name\n    image: {image}\n  strength: "{strength}"\n'
        entry = f"- {{{source}, strength: '{strength}'}}" if flow else spread
        lines += [" " * (2 + dash) + line for line in (f"# about {name}", *entry.split("\n"))]
    return "".join(f"{line}\n" for line in lines)


@given(
    old=lists,
    new=lists,
    dash=st.sampled_from([0, 2]),
    flow=st.booleans(),
    tail=st.sampled_from(["", TAIL, "  config: x # last\n"]),
)
def test_any_list_becomes_any_other_and_no_other_line_is_touched(
    old: list[Object], new: list[Object], dash: int, flow: bool, tail: str
) -> None:
    text = HEAD + INFERENCE + written(old, dash, flow) + tail
    made = with_adapters(text, new)
    assert made.startswith(HEAD + INFERENCE) and tail in made
    if len(old) == len(new):  # no adapter goes, so no comment does
        assert made.count("# about") == len(old)
