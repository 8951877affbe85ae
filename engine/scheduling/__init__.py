"""Queue, admission, batch forming and instance threads. Knows nothing of gRPC or of any runtime."""
