"""From scores or a tomogram to coordinates of particles.

A particle is where a ball of its size has the highest mean. Takes plain arguments: knows no
configuration, no file and no page. May use `device`.
"""
