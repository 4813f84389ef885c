"""Hot operations on plain tensors, each as reference and fast form in one file."""
