"""What happens: schedulers, KV blocks, clusters, records and metrics, in virtual time."""
