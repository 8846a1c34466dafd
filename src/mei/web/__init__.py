"""FastAPI kit of the services (app factory, errors, auth, metrics, logs) and the client of them."""
