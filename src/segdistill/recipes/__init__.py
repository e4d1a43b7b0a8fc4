"""Recipes: complete, named, typed experiments, in Python or YAML. This package does not import PyTorch."""

from segdistill.catalogue.methods import METHODS
from segdistill.recipes.alone import alone_recipe
from segdistill.recipes.builtin import BUILTIN
from segdistill.recipes.load import load, to_yaml
from segdistill.recipes.published import ROWS, Row, published_rows, rows_of, tables, teacher_rows
from segdistill.recipes.schema import Data, Network, Recipe, Teacher, TermRecipe, Train
from segdistill.recipes.sources import files_of

__all__ = [
    "BUILTIN",
    "METHODS",
    "ROWS",
    "Data",
    "Network",
    "Recipe",
    "Row",
    "Teacher",
    "TermRecipe",
    "Train",
    "alone_recipe",
    "files_of",
    "load",
    "published_rows",
    "rows_of",
    "tables",
    "teacher_rows",
    "to_yaml",
]
