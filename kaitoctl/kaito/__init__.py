"""What KAITO knows, as plain functions: nothing here waits, connects, prints or reads a clock.

Files that users name are read by `catalog_file`, `prices`, `templates` and `template_schema`. What is in
`desired/in_pods` runs in pods, as a program of its own.
"""
