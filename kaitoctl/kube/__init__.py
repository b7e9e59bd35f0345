"""Kubernetes as a language, and the one API client that speaks it.

`objects`, `request`, `conditions`, `schema` and `managed_fields` are plain functions on plain data.
`client`, over `transport` and `http`, is all of kaitoctl that opens connections to API servers.
"""
