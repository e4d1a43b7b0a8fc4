"""Files of a student that run without this package: ONNX, quantized ONNX and torch.export, each checked."""
