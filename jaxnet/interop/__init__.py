"""Trained networks for other tools: files that run without jaxnet, and scikit-learn estimators."""
