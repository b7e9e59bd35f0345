"""Compiled from templates/inference.yaml.j2; pytest --update-golden tests/pure writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# fmt: off
SOURCE = """\
{#- A preset served on GPU nodes, with LoRA adapters when there are any.
    Variables: name, namespace, preset, instance_type, count, labels, preferred_nodes, adapters,
    private_image, image_pull_secrets, api_version, annotations; and whatever --values and --set add:
    config (name of a ConfigMap for the server), model_access_secret (v1beta1: a Secret with HF_TOKEN). -#}
{% set is_new = api_version == "v1beta1" %}
{% if is_new and preferred_nodes %}
{{ fail("--preferred-node: v1beta1 reads no preferredNodes; label these nodes (v1alpha1 did before v0.11)") }}
{% endif %}
{% if is_new and private_image %}
{{ fail("--private-image: v1beta1 does not use it: only v1alpha1 does, before KAITO v0.11") }}
{% endif %}
apiVersion: kaito.sh/{{ api_version }}
kind: Workspace
metadata:
  name: {{ name }}
{% if namespace %}
  namespace: {{ namespace }}
{% endif %}
{% if annotations %}
  annotations: {{ annotations }}
{% endif %}
resource:
{% if not is_new or count != 1 %}
  count: {{ count }}
{% endif %}
{% if instance_type %}
  instanceType: {{ instance_type }}
{% endif %}
  labelSelector:
    matchLabels: {{ labels }}
{% if preferred_nodes %}
  preferredNodes: {{ preferred_nodes }}
{% endif %}
inference:
  preset:
    name: {{ preset }}
{% if private_image %}
    accessMode: private
    presetOptions:
      image: {{ private_image }}
{% if image_pull_secrets %}
      imagePullSecrets: {{ image_pull_secrets }}
{% endif %}
{% endif %}
{% if is_new and model_access_secret is defined %}
    presetOptions:
      modelAccessSecret: {{ model_access_secret }}
{% endif %}
{% if config is defined %}
  config: {{ config }}
{% endif %}
{% if adapters %}
  adapters:
{% for adapter in adapters %}
    - source:
        name: {{ adapter.name }}
        image: {{ adapter.image }}
{% if adapter.image_pull_secrets %}
        imagePullSecrets: {{ adapter.image_pull_secrets }}
{% endif %}
      strength: "{{ adapter.strength }}"
{% endfor %}
{% endif %}
"""


def build(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the template makes of a request's variables; None when it refuses them."""
    root: dict[str, Any] = {}
    is_new = values['api_version'] == 'v1beta1'
    if (is_new and values['preferred_nodes']):
        return None
    if (is_new and values['private_image']):
        return None
    root['apiVersion'] = 'kaito.sh/' + values['api_version']
    root['kind'] = 'Workspace'
    part1: dict[str, Any] = {}
    root['metadata'] = part1
    part1['name'] = values['name']
    if values['namespace']:
        part1['namespace'] = values['namespace']
    if values['annotations']:
        part1['annotations'] = values['annotations']
    part2: dict[str, Any] = {}
    root['resource'] = part2
    if (not is_new or values['count'] != 1):
        part2['count'] = values['count']
    if values['instance_type']:
        part2['instanceType'] = values['instance_type']
    part3: dict[str, Any] = {}
    part2['labelSelector'] = part3
    part3['matchLabels'] = values['labels']
    if values['preferred_nodes']:
        part2['preferredNodes'] = values['preferred_nodes']
    part4: dict[str, Any] = {}
    root['inference'] = part4
    part5: dict[str, Any] = {}
    part4['preset'] = part5
    part5['name'] = values['preset']
    if values['private_image']:
        part5['accessMode'] = 'private'
        part6: dict[str, Any] = {}
        part5['presetOptions'] = part6
        part6['image'] = values['private_image']
        if values['image_pull_secrets']:
            part6['imagePullSecrets'] = values['image_pull_secrets']
    if (is_new and 'model_access_secret' in values):
        if 'presetOptions' in part5:
            return None
        part7: dict[str, Any] = {}
        part5['presetOptions'] = part7
        part7['modelAccessSecret'] = values['model_access_secret']
    if 'config' in values:
        part4['config'] = values['config']
    if values['adapters']:
        part8: list[Any] = []
        part4['adapters'] = part8
        for adapter in values['adapters']:
            part9: dict[str, Any] = {}
            part8.append(part9)
            part10: dict[str, Any] = {}
            part9['source'] = part10
            part10['name'] = adapter['name']
            part10['image'] = adapter['image']
            if adapter['image_pull_secrets']:
                part10['imagePullSecrets'] = adapter['image_pull_secrets']
            part9['strength'] = adapter['strength']
    return root
