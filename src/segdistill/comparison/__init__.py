"""Several runs side by side: methods over seeds, values searched for; each an ordinary run in its own folder."""
