"""One file per tool that can follow a training: `open_watcher(folder, made)`, a `Watcher` of `live`.

`made` steps were made before an interruption: what the tool has seen beyond them was not kept. The tool is
imported inside: nobody else needs it.
"""
