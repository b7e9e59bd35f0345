"""What the commands do, one file per command, and what several of them share."""
