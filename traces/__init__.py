"""What arrives: workloads, their readers, synthesizers and statistics."""
