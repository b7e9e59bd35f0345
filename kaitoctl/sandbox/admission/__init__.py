"""Objects on their way in: built-in kinds get their `defaults`, then `rules` judge; `admission` does both."""
