"""One plain training loop with its losses, loggers, activation cache and checkpointing."""
