"""PyTorch, on CPU, CUDA and MPS."""
