"""A folder for a model hub: the student in its library's layout, its exported files, and a model card."""
