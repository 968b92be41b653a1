"""One file per Hugging Face model family: how it loads, embeds, runs a layer and finishes.

It has `MODALITY`; `classes(model_type)`, the model class and its keywords; `LAYERS`, the name of the list of
layers, or `layers(model)`, which gives them by name; `FINAL`, what follows the last; `ROLES`, names of
modules in a layer; `SAMPLE_RATE` in Hz if it takes sound; `preparer(folder, settings)`; `embed`; `run_layer`.
"""
