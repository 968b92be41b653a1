"""One file per dataset kind: `Settings` and `items(raw, settings)`."""
