"""One file per tool that can follow a training: `open_logger(folder, made)`, a `Logger` of `logging`.

`made` steps were made before an interruption: what the tool has seen beyond them was not kept. The tool is
imported inside: nobody else needs it.
"""
