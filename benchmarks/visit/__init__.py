"""The first visit to a machine with a GPU, as one folder and one command."""
