"""Many evaluations as jobs of a cluster or of this machine: started, survived, collected.

Imports nothing: a job needs :mod:`sta.sweeps.job` alone, and waits for every import.
"""
