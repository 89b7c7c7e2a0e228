"""What the audit finds and what it does not, on planted leaks and innocent archives, beside other tools on the same worlds."""
