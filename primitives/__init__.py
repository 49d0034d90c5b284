"""What a step costs: devices, models, operations, cost sources, step cost, memory."""
