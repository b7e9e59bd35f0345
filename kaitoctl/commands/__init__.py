"""What the commands do, one file per command, and what several of them share.

`observe_...` read the cluster; `doctor_...`, `rollout_...` and the like are parts of one command.
`..._options` is what was typed, `..._settings` what it means. docs/architecture.md follows a command through.
"""
