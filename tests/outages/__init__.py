"""Each dependency missing, lost, hanging and failing over, as callers and operators see it from outside."""
