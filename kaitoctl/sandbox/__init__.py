"""A cluster that is not there. (Its limits are listed here as it grows.)"""
