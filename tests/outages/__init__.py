"""Each dependency missing, lost, hanging and failing over, as callers and operators of real processes see it."""
