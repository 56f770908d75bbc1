"""The widgets: thin views of the states, each usable alone."""
