"""What pods mount: directories under the root directory, which the engine binds into containers."""
