"""Studies: networks trained to answer a question about a model, a data set and a recipe.

A study is a function of (model, splits, recipe, key) and options by keyword, which have the same
names in all of them. It returns a frozen dataclass and prints nothing. `comparison` compares runs
that are there already.
"""
