"""Long proofs: workers killed, restarted and starved of their stores under load, against the simulator's own bill.

`make chaos` runs them all, bounded; `make chaos ARGS="kill --times 20"` one of them. Each prints its figures and fails
when one of its promises does not hold.
"""
