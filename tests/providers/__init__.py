"""Endpoints on this machine, right and wrong, and what `ccm probe` makes of them."""
