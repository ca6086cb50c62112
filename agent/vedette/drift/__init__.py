"""What served models are asked and answer, as mergeable sketches, and how far it is from before."""
