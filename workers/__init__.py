"""Worker classes: one file each, scheduling only."""
