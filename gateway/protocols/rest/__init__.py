"""The REST port's application: everything of the protocol but inference, which the wire answers itself."""
