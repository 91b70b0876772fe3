"""The service among failing machines: real servers, real processes, and a judge who counts."""
