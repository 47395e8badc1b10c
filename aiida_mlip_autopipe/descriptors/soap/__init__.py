"""SOAP descriptors, computed by this package or by dscribe."""
