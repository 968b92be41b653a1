"""One file per tool that can follow a training: what it must have is `Logger` in config/contracts.py."""
