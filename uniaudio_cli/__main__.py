"""`python -m uniaudio_cli`: the command, for launchers that start modules."""

from uniaudio_cli.cli.main import main

main()
