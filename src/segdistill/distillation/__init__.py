"""The Distiller, which joins student, teacher and losses: terms, named features, adapters, several teachers."""
