"""LoRA training: layers and the loop, which goes on where it was stopped."""
