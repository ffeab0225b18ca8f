from hypothesis import HealthCheck, settings

# How long a draw takes says how busy the machine is; pytest's own limit ends a test that hangs.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")
