"""The command line: one program, commands contributed by entry points, errors in one line."""
