"""Tables in small steps: bytes to text, text to cells, cells to kinds of columns, and these to
inputs.
"""
