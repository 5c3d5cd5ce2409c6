"""Parts that every agent shares: networks, critic ensemble, options, episode bookkeeping."""
