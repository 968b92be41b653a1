"""One file per dataset kind: what it must have is `Dataset` in config/contracts.py.

What it promises beyond that is in contracts/datasets.py; `crossmodal-peft check-plugin FILE` tries it.
"""
