"""The stages of the workflow: each reads named files, makes one call, and writes named files.

Modules that load torch are imported inside the stages, so that `--help` and the table stages are quick.
"""
