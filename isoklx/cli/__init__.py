"""The command line: commands, argument parsing and help."""
