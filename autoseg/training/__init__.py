"""Learning: the plan, the loss, the loop, fine-tuning, and the finder of centrelines."""
