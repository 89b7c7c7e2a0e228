"""What sealing and verifying a pack cost, in time and in memory."""
