"""Processes, devices, interrupts, timing and files of the machine; nothing here knows a network."""
