"""Makes a release: `python3 dev.py release VERSION`; docs/development.md says what comes of it."""
