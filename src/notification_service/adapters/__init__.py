"""One folder per port, one file per technology; the file's name is the setting's value."""
