"""Programs that run in pods, as they are: nothing of them runs here."""
