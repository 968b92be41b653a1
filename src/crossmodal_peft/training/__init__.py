"""One plain loop with its losses, loggers, activation cache and checkpointing."""
