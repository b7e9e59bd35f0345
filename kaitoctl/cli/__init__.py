"""The command line: where KAITO's knowledge, a cluster and the sandbox meet. One thin file per command."""
