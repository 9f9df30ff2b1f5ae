"""What things are and what may happen to them: pure, standard library only, time and chance come in as arguments."""
