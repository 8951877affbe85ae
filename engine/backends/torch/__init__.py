"""The PyTorch backend, on CPU, CUDA and MPS."""
