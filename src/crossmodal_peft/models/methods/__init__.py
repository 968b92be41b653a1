"""One file per tuning method: what it must have is `Method` in config/contracts.py.

What it promises beyond that is in contracts/methods.py; `crossmodal-peft check-plugin FILE` tries it.
"""
