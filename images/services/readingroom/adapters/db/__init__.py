"""People in PostgreSQL, by Django: the models, their migrations and the adapter. Only the portal's process imports it."""
