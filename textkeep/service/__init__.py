"""The roof: settings, wiring, HTTP app, CLI. The only room that knows every room and every driver."""
