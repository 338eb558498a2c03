"""What is deployed: settings (the configuration), estate (what exists), and the components registry, routing and
service."""
