"""SOAP, computed here or by dscribe."""
