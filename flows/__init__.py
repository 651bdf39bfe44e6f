"""In what order things happen: one cycle, a study of cycles, and the command line."""

import os

# Read by libraries when they are first imported, so set before any of them. Nothing is reported to anyone's server;
# threads that wait for one another sleep instead of spinning, which on a busy machine is faster by far.
for _name, _value in {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DVC_NO_ANALYTICS": "1",
                      "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_CONFIGURE_LOGGING": "false",
                      "OMP_WAIT_POLICY": "PASSIVE"}.items():
    os.environ.setdefault(_name, _value)
