"""In-memory fakes that keep the contract of their ports."""
