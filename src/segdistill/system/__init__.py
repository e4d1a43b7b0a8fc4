"""The machine: files, imports, processes and threads."""
