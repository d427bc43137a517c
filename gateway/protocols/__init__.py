"""What clients speak: each protocol turns its bytes into requests, and errors into its statuses."""
