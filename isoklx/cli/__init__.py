"""The command line: the commands, and what reads and explains them."""
