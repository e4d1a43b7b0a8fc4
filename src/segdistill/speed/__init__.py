"""The form in which a network runs fastest on this machine, found by measuring, with the same results."""
