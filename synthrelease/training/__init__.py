"""One loop over a generator's players, private or plain, that can be killed and resumed at any moment."""
