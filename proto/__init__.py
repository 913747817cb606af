"""The gRPC contracts and their generated stubs (`scripts/proto` writes them); nothing else."""
