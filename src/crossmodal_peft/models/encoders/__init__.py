"""One file per Hugging Face model family: what it must have is `EncoderFamily` in config/contracts.py.

What it promises beyond that is in contracts/encoders.py; `crossmodal-peft check-plugin FILE` tries it.
"""
