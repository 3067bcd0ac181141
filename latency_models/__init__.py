"""What a network costs in milliseconds on a board, with an interval and what it leaves out.

Torch is never imported.
"""

from latency_models.devices import DEVICES, Device, FitError, device, load_device
from latency_models.predict import DEFAULT_DEVICE, Latency, predict, predict_on

__all__ = [
    "DEFAULT_DEVICE",
    "DEVICES",
    "Device",
    "FitError",
    "Latency",
    "device",
    "load_device",
    "predict",
    "predict_on",
]
