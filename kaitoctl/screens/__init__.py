"""What a terminal shows, and what a pipe gets."""
