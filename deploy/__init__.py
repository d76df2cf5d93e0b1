"""Entry points of the image: prepare the databases, start a component, check its health."""
