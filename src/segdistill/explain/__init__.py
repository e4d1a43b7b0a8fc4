"""Tensors and figures that explain what was distilled: Grad-CAM, t-SNE of features, similarities of classes, GSKD."""
