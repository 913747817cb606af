"""Container engines behind one interface (`interfaces`), with one conformance suite over all of them."""
