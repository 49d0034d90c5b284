"""What is best: the space, the estimate, the optimizer, the emitters."""
