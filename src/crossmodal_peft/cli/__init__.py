"""The command line: turns arguments into calls of stages; contains no logic of its own."""
