"""Who asks, and what they may do: identities, policies and quotas, whatever carries the request."""
