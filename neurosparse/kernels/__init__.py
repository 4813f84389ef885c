"""Time-critical operations on plain tensors, each as a reference in torch and a fast form with the same result."""
