"""In what order things happen: one cycle, a study of cycles, and the command line."""

import os

# Read by libraries when they are first imported, so set before any of them. Nothing is reported to anyone's server.
# One thread a process: results then do not depend on the number of cores, and for networks as small as the presets
# two threads that wait for one another are slower than one (on a busy machine, by far).
for _name, _value in {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DVC_NO_ANALYTICS": "1",
                      "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_CONFIGURE_LOGGING": "false",
                      "OMP_NUM_THREADS": "1"}.items():
    os.environ.setdefault(_name, _value)
