"""Statistics on plain arrays: every function takes arrays and returns estimates, and knows no
model.
"""
