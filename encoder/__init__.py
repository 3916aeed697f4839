"""From pixels to embeddings, and from embeddings to answers: the only package that computes with torch."""

__all__ = ["config", "errors", "frame_encoder", "hierarchical_attention", "picture", "preprocess", "version"]
