"""Entry point by which torchrun starts the command line in every process."""

from crossmodal_peft.cli.main import main

main()
