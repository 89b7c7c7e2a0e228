"""What both header gates cost and find: a hospital's headers, our archive, another tool's archive."""
