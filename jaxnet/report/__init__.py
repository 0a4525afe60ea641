"""Show results on the console, in notebooks, as figures and as pages; nothing is computed here."""
