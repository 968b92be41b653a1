"""What every variant of a kind must hold, as checks that also run on a file of your own."""
