"""kaitoctl: KAITO Workspaces, from the first line of YAML to a serving model."""

__version__ = "0.1.0"
