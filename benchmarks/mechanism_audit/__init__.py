"""The mechanism's audit on correct code and on code with seeded bugs: does it stay silent, and does it speak?"""
