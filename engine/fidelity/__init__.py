"""How close a deployment's vectors are to fp32: corpus, reference, metrics."""
