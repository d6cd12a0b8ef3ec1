"""Small programs that the lab runs inside its hosts."""
