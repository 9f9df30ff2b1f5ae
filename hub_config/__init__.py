"""How a workspace is opened: one hub per project, in the project's own namespace."""
