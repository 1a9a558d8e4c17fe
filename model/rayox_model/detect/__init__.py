"""From images to detections: decoding, non-maximum suppression, ONNX."""
