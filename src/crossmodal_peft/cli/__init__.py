"""The command line: arguments → calls of stages; no logic of its own."""
