"""Object detectors: building, training, inspecting and evaluating them. The only package that imports mmdet."""
