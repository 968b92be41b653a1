"""From records to tables, plots and a summary in words. Loads no torch."""
