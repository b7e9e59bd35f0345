"""A cluster that is not there: an API server on loopback, and what a cluster's own controllers do.

`server` puts `api` on a port; `api`, `admission`, `crd`, `discovery`, `openapi`, `tables`, `selectors`,
`server_side_apply`, `patch`, `protobuf`, `types`, `store` and `builtin` decide, without I/O;
`persistence` keeps the store in a file. `workloads` and `cluster` are ordinary clients of that server.

What it does not do, and why, is in docs/sandbox.md; `tests/conformance` asks it and a real API server the
same things.
"""

KUBERNETES = ("1", "37")
"""The version that the API server and its nodes say they are: major, minor."""
