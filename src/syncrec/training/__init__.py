"""The training loop: steps, schedule, validation hook, checkpoints, progress."""
