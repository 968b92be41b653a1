"""One file per tuning method: `Settings` and `attach(encoder, layers, settings)`."""
