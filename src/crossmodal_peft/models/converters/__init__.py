"""One file per package that carries weights: what it must have is `Converter` in config/contracts.py."""
