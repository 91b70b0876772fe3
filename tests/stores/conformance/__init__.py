"""What every store promises: the sentences of the ports, as tests that each database's test file inherits.

A test file says in its fixture `house` which database it is.
"""
