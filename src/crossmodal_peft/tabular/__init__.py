"""Tables as people have them, read in one way: CSV, TSV, JSON Lines and Parquet; values, or a refusal.

A refusal is a ValueError of one line that names the file, the line and the fix. Nothing is guessed: what can
only be read in one way is read, and the rest is refused.
"""
