"""One file per Hugging Face model family: how it loads, embeds, runs a layer and finishes."""
