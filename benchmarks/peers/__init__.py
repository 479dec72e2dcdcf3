"""What the training step is measured beside: other ways to compute the same field on a CPU.

Each module is run as a program of its own, ``python -m benchmarks.peers.NAME '{"batch": 65536}'``,
and prints its figures as one line of JSON.
"""
