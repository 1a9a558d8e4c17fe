"""The YOLOX detector in plain PyTorch, numpy and OpenCV: networks, assigners, losses, augmentation and the engine."""
