"""The machine: processes, devices, interrupts, timing and files."""
