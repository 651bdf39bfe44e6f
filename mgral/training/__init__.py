"""Training detectors, on labelled images alone or on unlabelled ones too: one loop, one module a method."""
