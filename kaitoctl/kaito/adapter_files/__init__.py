"""What a folder with a PEFT LoRA adapter says, judged before it becomes an image; no I/O and no numpy."""
