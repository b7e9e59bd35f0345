"""Kubernetes as a language, and the one door through which it is spoken.

`objects`, `request`, `conditions`, `schema` and `managed_fields` are plain functions on plain data.
`client` is the only module of kaitoctl that opens a connection to an API server.
"""
