"""Many networks: trained at once, averaged, and searched through."""
