"""The whole stack of `docker-compose.yaml`, started, used, broken, backed up and restored: `make compose-test`."""
