"""Fidelity: how close the vectors of a deployment are to fp32. Corpus, reference vectors, metrics, grade."""
