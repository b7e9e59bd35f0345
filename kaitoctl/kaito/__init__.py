"""What KAITO knows, as plain functions: nothing here waits, connects, prints or reads a clock."""
