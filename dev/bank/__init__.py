"""The sandbox bank: a server that speaks Plaid's API, so that everything runs and is tested offline."""
