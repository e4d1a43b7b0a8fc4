"""Join student, teacher and losses: Distiller, Term, named features, adapters, several teachers."""
