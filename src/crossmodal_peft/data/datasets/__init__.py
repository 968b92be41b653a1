"""One file per dataset kind.

It has `Settings`; `MODALITIES`; `USES`, modules of the package that it is built on, beside those of every
kind; `download(raw, **origin)`, which fetches or finds its files and returns a receipt; `unpack(raw, out,
**origin)`, which returns the folder that the files of items stand under; `items(root, settings)`;
`read_image(path)` if it has pictures; and `read_audio(path, rate)` if its sound is not in sound files.
"""
