"""The validating webhook: a TLS server that judges Workspaces as `validate` does, and its certificates."""
