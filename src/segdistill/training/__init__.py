"""Training on Lightning Fabric: build what a recipe names, train the Distiller, write a run's folder."""
