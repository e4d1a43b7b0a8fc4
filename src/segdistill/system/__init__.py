"""Access to the operating system: files, imports, processes and threads."""
