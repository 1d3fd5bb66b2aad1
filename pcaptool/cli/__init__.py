"""The command line: one file per command.

Knows: arguments, progress, printing, exit codes.
Must not know: how anything is done. Heavy libraries are imported inside the commands, so that `--help` and
shell completion answer at once.
"""
