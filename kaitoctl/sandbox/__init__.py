"""A cluster that is not there."""
