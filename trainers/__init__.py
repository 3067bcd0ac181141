"""What scores a network: images, and short trainings that condense it."""
