"""Training on Lightning Fabric: builds what a recipe names, feeds the Distiller, leaves a run's folder."""
