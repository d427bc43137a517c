"""The OpenAPI 3.1 document at `/v2/openapi.json`."""
