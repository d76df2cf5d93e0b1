"""How Sluice runs from its image: what prepares the databases, starts a part, and tells whether it is well."""
