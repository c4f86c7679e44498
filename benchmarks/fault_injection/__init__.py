"""What benchmarks/faults.py is made of: commands that are killed, and data that is damaged."""
