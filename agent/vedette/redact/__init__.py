"""Find secrets and personal data in what is about to leave the host, and mask them."""
