"""Sources of training images, and batches from them."""
