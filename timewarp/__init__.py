"""What really happens: an engine's own control loop on virtual time."""
