"""Test of the whole stack of `docker-compose.yaml`: start, use, break, back up and restore it: `make compose-test`."""
