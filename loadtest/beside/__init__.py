"""What `bench` and `growth` are made of: Nessen beside its peers, each on the same core with the same load."""
